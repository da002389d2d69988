//! What Asterisk says and understands: the environment of a call, then one command a line.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// More than this of a line is not kept.
pub const LONGEST_LINE: usize = 8 * 1024;
/// More than this is no environment of a call.
pub const LONGEST: usize = 64 * 1024;
/// Arguments beyond this number are not read.
const MOST_ARGUMENTS: usize = 64;

/// What a call's environment tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Whether any line of it was Asterisk's.
    pub is_agi: bool,
    /// The channel's id.
    pub uniqueid: Option<String>,
    /// The whole call's id.
    pub linkedid: Option<String>,
    /// The channel's name.
    pub channel: Option<String>,
    /// What the dialplan passed, with FastAGI.
    pub arguments: Vec<String>,
}

/// Reads an environment as it comes.
#[derive(Debug, Default)]
pub struct EnvironmentReader {
    environment: Environment,
    line: Vec<u8>,
    read: usize,
    finished: bool,
}

impl EnvironmentReader {
    /// Takes the next bytes. Answers whether that was all: an empty line, or too much.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.finished {
                break;
            }
            self.read += 1;
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let text = String::from_utf8_lossy(&line);
                    self.finished = text.trim().is_empty();
                    self.take_line(text.trim_end_matches('\r'));
                }
                _ if self.line.len() < LONGEST_LINE => self.line.push(*byte),
                _ => {}
            }
            if self.read >= LONGEST {
                self.finished = true;
            }
        }
        self.finished
    }

    /// Whether more than [`LONGEST`] came.
    pub fn is_too_long(&self) -> bool {
        self.read >= LONGEST
    }

    /// What was read; a last line without its end counts too.
    pub fn finish(mut self) -> Environment {
        let line = std::mem::take(&mut self.line);
        self.take_line(&String::from_utf8_lossy(&line));
        self.environment
    }

    fn take_line(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let Some(name) = name.strip_prefix("agi_") else {
            return;
        };
        let environment = &mut self.environment;
        environment.is_agi = true;
        // Of a space before it, one is the protocol's; the rest is the value's.
        let value = value.strip_prefix(' ').unwrap_or(value);
        let place = match name {
            "uniqueid" => &mut environment.uniqueid,
            "linkedid" => &mut environment.linkedid,
            "channel" => &mut environment.channel,
            "request" => {
                // agi://host/call?linkedid=1795345652.1
                let linked = value.split_once('?').and_then(|(_, query)| {
                    query
                        .split('&')
                        .find_map(|pair| pair.strip_prefix("linkedid="))
                });
                if let (Some(linked), None) = (linked, &environment.linkedid) {
                    environment.linkedid = Some(linked.to_owned());
                }
                return;
            }
            _ => {
                let number = name
                    .strip_prefix("arg_")
                    .and_then(|n| n.parse::<usize>().ok());
                if let Some(number @ 1..=MOST_ARGUMENTS) = number {
                    let arguments = &mut environment.arguments;
                    arguments.resize(arguments.len().max(number), String::new());
                    arguments[number - 1] = value.to_owned();
                }
                return;
            }
        };
        if place.is_none() && !value.is_empty() {
            *place = Some(value.to_owned());
        }
    }
}

/// The command that sets a variable of the channel.
pub fn set_variable(name: &str, value: &str) -> String {
    format!("SET VARIABLE {name} {value}\n")
}

/// The value in an answer such as `200 result=1 (value)`.
fn value_of(answer: &str) -> Option<&str> {
    answer
        .strip_prefix("200 result=1 (")?
        .trim_end()
        .strip_suffix(')')
}

/// Asterisk at the other end of two descriptors. Nothing here waits longer than it is told.
#[derive(Debug)]
pub struct Channel<'a> {
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    unread: Vec<u8>,
    ended: bool,
}

impl<'a> Channel<'a> {
    /// Usually standard input and output.
    pub fn new(input: BorrowedFd<'a>, output: BorrowedFd<'a>) -> Self {
        Self {
            input,
            output,
            unread: Vec::new(),
            ended: false,
        }
    }

    /// The environment, as much of it as comes within that time.
    pub fn environment(&mut self, limit: Duration) -> Environment {
        let end = Instant::now() + limit;
        let mut reader = EnvironmentReader::default();
        let mut buffer = [0; 4096];
        while !reader.finished {
            match self.read(&mut buffer, end) {
                0 => break,
                count => reader.push(&buffer[..count]),
            };
        }
        reader.finish()
    }

    /// Asks for the value of a variable or function of the channel; [`Channel::value`] has it.
    /// Whether it could be asked within that time.
    pub fn ask(&mut self, name: &str, limit: Duration) -> bool {
        !self.ended && self.say(&format!("GET VARIABLE {name}\n"), limit)
    }

    /// The value that was asked for.
    pub fn value(&mut self, limit: Duration) -> Option<String> {
        let answer = self.wait_for_answer(limit)?;
        value_of(&answer).map(str::to_owned)
    }

    /// Says something; whether it could be said within that time.
    pub fn say(&mut self, command: &str, limit: Duration) -> bool {
        self.write(command, Instant::now() + limit)
    }

    /// Waits for the answer to what was said: if nobody reads it, Asterisk takes the call's end
    /// for a failure.
    pub fn wait_for_answer(&mut self, limit: Duration) -> Option<String> {
        self.answer(Instant::now() + limit)
    }

    fn answer(&mut self, end: Instant) -> Option<String> {
        let mut buffer = [0; 1024];
        loop {
            while let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                let line = String::from_utf8_lossy(&line);
                // 200 result=1, 511 Command Not Permitted, the last line of a 520. Anything else
                // (HANGUP) is no answer.
                let bytes = line.as_bytes();
                if bytes.len() > 3 && bytes[..3].iter().all(u8::is_ascii_digit) && bytes[3] != b'-'
                {
                    return Some(line.into_owned());
                }
            }
            if self.unread.len() > LONGEST_LINE {
                return None;
            }
            match self.read(&mut buffer, end) {
                0 => return None,
                count => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// How many bytes came until then; none: the end, or nothing in time.
    fn read(&mut self, buffer: &mut [u8], end: Instant) -> usize {
        while !self.ended && ready(self.input, PollFlags::IN, end) {
            match rustix::io::read(self.input, &mut *buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => return count,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => self.ended = true,
            }
        }
        0
    }

    /// Whether all could be written until then.
    fn write(&mut self, text: &str, end: Instant) -> bool {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if !ready(self.output, PollFlags::OUT, end) {
                return false;
            }
            match rustix::io::write(self.output, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// Waits until a descriptor can be used (or never will be), at most until then.
fn ready(fd: BorrowedFd, flags: PollFlags, end: Instant) -> bool {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&left)) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsFd as _;

    /// As recorded from Asterisk 16.
    const RECORDED: &str = "agi_request: agi://127.0.0.1:4573/call?x=1&linkedid=1795345652.0\n\
        agi_channel: Local/254712345678@drive-in-00000000;2\nagi_language: en\nagi_type: Local\n\
        agi_uniqueid: 1795345652.1\nagi_version: 16.28.0~dfsg-0+deb11u4\nagi_callerid: 254712345678\n\
        agi_context: rapidpro\nagi_priority: 2\nagi_threadid: 139700440803072\n\
        agi_arg_1: 254712345678\nagi_arg_2: 2026-11-22T11:07:32\nagi_arg_3: \nagi_arg_4:  lead\n\n";

    fn read(bytes: &[u8]) -> (Environment, bool) {
        let mut reader = EnvironmentReader::default();
        let finished = reader.push(bytes);
        (reader.finish(), finished)
    }

    #[test]
    fn what_asterisk_sends_is_understood() {
        let (environment, finished) = read(RECORDED.as_bytes());
        assert!(finished);
        assert_eq!(
            environment,
            Environment {
                is_agi: true,
                uniqueid: Some("1795345652.1".into()),
                linkedid: Some("1795345652.0".into()),
                channel: Some("Local/254712345678@drive-in-00000000;2".into()),
                arguments: vec![
                    "254712345678".into(),
                    "2026-11-22T11:07:32".into(),
                    String::new(),
                    " lead".into()
                ],
            }
        );
        assert_eq!(
            read(RECORDED.replace('\n', "\r\n").as_bytes()).0,
            environment
        );
    }

    #[test]
    fn garbage_is_no_environment_and_too_much_of_it_ends() {
        let (environment, finished) = read(&[0xff; LONGEST]);
        assert!(!environment.is_agi && finished);
        let (environment, _) = read(b"GET / HTTP/1.1\r\nHost: pbx\r\n\r\n");
        assert!(!environment.is_agi);
        // One line that is too long is cut; those after it count.
        let mut long = b"agi_arg_1: ".to_vec();
        long.resize(20_000, b'7');
        long.extend_from_slice(b"\nagi_uniqueid: 1.1\n\n");
        let (environment, finished) = read(&long);
        assert!(finished);
        assert_eq!(environment.uniqueid.as_deref(), Some("1.1"));
        assert!(environment.arguments[0].len() < LONGEST_LINE);
        // Nor can a number of an argument make much room.
        let (environment, _) = read(b"agi_arg_4000000000: x\nagi_arg_0: x\n\n");
        assert_eq!(environment.arguments.len(), 0);
    }

    fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
        std::io::pipe().unwrap()
    }

    #[test]
    fn a_mute_asterisk_is_waited_for_only_so_long() {
        let (input, mut asterisk_says) = pipe();
        let (asterisk_hears, output) = pipe();
        use std::io::Write as _;
        asterisk_says
            .write_all(b"agi_uniqueid: 1.1\nagi_ch")
            .unwrap();
        let mut channel = Channel::new(input.as_fd(), output.as_fd());
        let began = Instant::now();
        let environment = channel.environment(Duration::from_millis(30));
        assert_eq!(environment.uniqueid.as_deref(), Some("1.1"));
        assert!(channel.ask("X", Duration::from_millis(30)));
        assert_eq!(channel.value(Duration::from_millis(30)), None);
        assert!(began.elapsed() < Duration::from_secs(5));
        drop((asterisk_says, asterisk_hears));
        // Gone altogether: neither a signal nor an endless wait.
        assert!(!channel.say("NOOP\n", Duration::from_secs(60)));
        assert_eq!(channel.wait_for_answer(Duration::from_secs(60)), None);
    }

    #[test]
    fn answers_are_told_from_other_lines() {
        let (input, mut asterisk_says) = pipe();
        let (_asterisk_hears, output) = pipe();
        use std::io::Write as _;
        asterisk_says
            .write_all(
                b"agi_uniqueid: 1.1\n\nHANGUP\n200 result=1 (1795345652.0)\n\
                520-Invalid command syntax.  Proper usage follows:\n520 End of proper usage.\n",
            )
            .unwrap();
        let mut channel = Channel::new(input.as_fd(), output.as_fd());
        // What comes after the environment in one piece is not lost to the answers: Asterisk sends
        // none before it is asked.
        let environment = channel.environment(Duration::from_secs(60));
        assert_eq!(environment.uniqueid.as_deref(), Some("1.1"));
        asterisk_says
            .write_all(b"HANGUP\n200 result=1 (1795345652.0)\n520-a\n520 End\n200 result=0\n")
            .unwrap();
        let minute = Duration::from_secs(60);
        assert!(channel.ask("CHANNEL(linkedid)", minute));
        assert_eq!(channel.value(minute).as_deref(), Some("1795345652.0"));
        assert_eq!(
            channel.wait_for_answer(minute).as_deref(),
            Some("520 End\n")
        );
        assert!(channel.ask("NONE", minute));
        assert_eq!(channel.value(minute), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn no_bytes_make_it_panic_and_pieces_make_no_difference(
            noise in any::<Vec<u8>>(),
            lines in proptest::collection::vec("agi_(uniqueid|arg_[0-9]{1,20}|channel|request|x):[ -~\u{80}-\u{ff}]{0,20}", 0..6),
            piece in 1usize..40,
        ) {
            let mut bytes = lines.join("\n").into_bytes();
            bytes.extend(noise);
            let mut reader = EnvironmentReader::default();
            for part in bytes.chunks(piece) {
                reader.push(part);
            }
            prop_assert_eq!(reader.finish(), read(&bytes).0);
        }
    }
}
