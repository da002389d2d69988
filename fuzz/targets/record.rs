//! Whatever lies in the spool: it is a record, which can be written and read again, or it is said
//! what is wrong with it.

#![no_main]

#[path = "parts.rs"]
mod parts;
use parts::{agi, host};

use agi::record::Record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::from_json(bytes) {
        record.times(&jiff::tz::TimeZone::UTC);
        record.first_attempt.as_ref().map(agi::record::Moment::age);
        assert_eq!(Record::from_json(&record.to_json()), Ok(record));
    }
});
