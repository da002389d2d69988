//! Columns that line up, for text that people read and copy.

/// Which side of its column a cell stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// The rows as lines; the first row is the head. No blanks at line ends.
pub fn lines(sides: &[Side], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for ((cell, side), width) in row.iter().zip(sides).zip(&widths) {
                let blanks = " ".repeat(width - cell.chars().count());
                match side {
                    Side::Left => {
                        line.push_str(cell);
                        line.push_str(&blanks);
                    }
                    Side::Right => {
                        line.push_str(&blanks);
                        line.push_str(cell);
                    }
                }
                line.push_str("  ");
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_blanks() {
        let rows = vec![
            vec!["SERVICE".to_owned(), "MEM".to_owned()],
            vec!["nginx".to_owned(), "12 MB".to_owned()],
            vec!["mailroom".to_owned(), String::new()],
        ];
        assert_eq!(
            lines(&[Side::Left, Side::Right], &rows),
            ["SERVICE     MEM", "nginx     12 MB", "mailroom"]
        );
    }
}
