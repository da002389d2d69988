//! ES_JAVA_OPTS, as the JVM of the image reads it.

/// The sizes in bytes; None where the image's own default (1 GB) holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heap {
    pub initial: Option<u64>,
    pub maximum: Option<u64>,
    pub enforce_bootstrap_checks: bool,
}

const DEFAULT: u64 = 1 << 30;
/// HotSpot refuses less.
const SMALLEST: u64 = 2 << 20;

impl Heap {
    pub fn initial_bytes(&self) -> u64 {
        self.initial.unwrap_or(DEFAULT)
    }

    pub fn maximum_bytes(&self) -> u64 {
        self.maximum.unwrap_or(DEFAULT)
    }
}

/// The error is what java prints before it ends with 1.
pub fn parse(options: &str) -> Result<Heap, String> {
    let mut heap = Heap::default();
    let fatal = |line: String| {
        format!(
            "{line}\nError: Could not create the Java Virtual Machine.\n\
             Error: A fatal exception has occurred. Program will exit."
        )
    };
    for option in options.split_whitespace() {
        if let Some(size) = option.strip_prefix("-Xms") {
            let bytes = size_in_bytes(size);
            heap.initial =
                Some(bytes.ok_or_else(|| fatal(format!("Invalid initial heap size: {option}")))?);
        } else if let Some(size) = option.strip_prefix("-Xmx") {
            let bytes = size_in_bytes(size);
            heap.maximum =
                Some(bytes.ok_or_else(|| fatal(format!("Invalid maximum heap size: {option}")))?);
        } else if let Some(value) = option.strip_prefix("-Des.enforce.bootstrap.checks=") {
            if value != "true" {
                return Err(format!(
                    "[es.enforce.bootstrap.checks] must be [true] but was [{value}]"
                ));
            }
            heap.enforce_bootstrap_checks = true;
        } else if !known(option) {
            if !option.starts_with('-') {
                return Err(format!(
                    "Error: Could not find or load main class {option}\n\
                     Caused by: java.lang.ClassNotFoundException: {option}"
                ));
            }
            return Err(fatal(format!("Unrecognized option: {option}")));
        }
    }
    let start = "Error occurred during initialization of VM\n";
    if heap.maximum.is_some_and(|bytes| bytes < SMALLEST) {
        return Err(format!("{start}Too small maximum heap"));
    }
    if heap.initial.is_some_and(|bytes| bytes > heap.maximum_bytes()) {
        return Err(format!(
            "{start}Initial heap size set to a larger value than the maximum heap size"
        ));
    }
    Ok(heap)
}

fn known(option: &str) -> bool {
    ["-D", "-XX:", "-Xlog", "-Xss", "-Xmn", "-verbose", "-javaagent:", "--add-", "-ea", "-da"]
        .iter()
        .any(|prefix| option.starts_with(prefix))
        || matches!(option, "-server" | "-Xint" | "-Xcomp" | "-Xmixed")
}

fn size_in_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << unit).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_may_differ_but_not_be_upside_down() {
        let heap = parse("-Xms512m -Xmx1g").unwrap();
        assert_eq!((heap.initial_bytes(), heap.maximum_bytes()), (512 << 20, 1 << 30));
        assert_eq!(parse("").unwrap(), Heap::default());
        assert!(parse("-Xms2g -Xmx1g").unwrap_err().contains("larger value than the maximum"));
        assert!(parse("-Xms2g").is_err());
        assert!(parse("-Xmx1m").unwrap_err().contains("Too small maximum heap"));
    }

    #[test]
    fn what_java_does_not_understand_is_refused_in_its_words() {
        for (options, words) in [
            ("-Xmsfoo", "Invalid initial heap size: -Xmsfoo\nError: Could not create"),
            ("-Xms", "Invalid initial heap size: -Xms\n"),
            ("-Xmx=1g", "Invalid maximum heap size: -Xmx=1g"),
            ("-Xms0 -Xmx1g", "Invalid initial heap size: -Xms0"),
            ("-Xfast", "Unrecognized option: -Xfast"),
            ("512m", "Could not find or load main class 512m"),
            ("-Des.enforce.bootstrap.checks=1", "must be [true] but was [1]"),
        ] {
            let message = parse(options).unwrap_err();
            assert!(message.contains(words), "{options}: {message}");
        }
        assert!(parse("-Dlog4j2.x=true -XX:+UseG1GC -Xmx512M").is_ok());
    }
}
