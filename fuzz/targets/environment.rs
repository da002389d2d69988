//! Whatever Asterisk, or anybody who connects in its place, sends: it is read, and the call made
//! of it survives the file.

#![no_main]

#[path = "parts.rs"]
mod parts;
use parts::{agi, host};

use agi::arguments;
use agi::protocol::EnvironmentReader;
use agi::record::{Id, Moment, Record};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut whole = EnvironmentReader::default();
    whole.push(bytes);
    let whole = whole.finish();
    let mut pieces = EnvironmentReader::default();
    for piece in bytes.chunks(7) {
        pieces.push(piece);
    }
    assert_eq!(whole, pieces.finish());

    let mut call = arguments::read(&whole.arguments);
    call.uniqueid = whole.uniqueid;
    call.linkedid = whole.linkedid;
    call.channel = whole.channel;
    let record = Record::new(call, "254", Moment::now());
    assert!(Id::new(record.id.as_str()).is_some());
    assert_eq!(Record::from_json(&record.to_json()), Ok(record));
});
