use super::*;
use jiff::tz::Offset;
use proptest::prelude::*;

/// A call as the wiki's dialplan reports it.
pub fn call(uniqueid: &str) -> Call {
    Call {
        msisdn: "0712345678".into(),
        start: "2026-11-22T11:07:32".into(),
        end: "2026-11-22T11:07:33".into(),
        direction: "inbound".into(),
        uniqueid: Some(uniqueid.into()),
        ..Call::default()
    }
}

/// Its record.
pub fn record(uniqueid: &str) -> Record {
    Record::new(call(uniqueid), "254", Moment::now())
}

#[test]
fn a_call_handed_in_twice_is_one_call() {
    assert_eq!(record("1795345652.1").id, record("1795345652.1").id);
    assert!(
        record("1795345652.1")
            .id
            .as_str()
            .starts_with("1795345652.1-")
    );
    assert_ne!(record("1795345652.1").id, record("1795345652.2").id);
    // The same channel that makes two calls, one after the other, makes two records.
    let mut later = call("1795345652.1");
    later.end = "2026-11-22T11:09:00".into();
    assert_ne!(
        Record::new(later, "254", Moment::now()).id,
        record("1795345652.1").id
    );
}

#[test]
fn without_asterisks_id_each_is_a_call_of_its_own() {
    let mut anonymous = call("x");
    anonymous.uniqueid = None;
    let ids: Vec<Id> = (0..2)
        .map(|_| Record::new(anonymous.clone(), "254", Moment::now()).id)
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0].as_str().len(), 32);
}

#[test]
fn an_id_can_never_leave_its_folder() {
    assert_eq!(
        record("../../etc/passwd\n").id.as_str(),
        format!("etcpasswd-{}", &record("x").id.as_str()[2..])
    );
    for bad in ["", ".", "..", ".a", "a/b", "a b", "a\0", &"x".repeat(101)] {
        assert_eq!(Id::new(bad), None, "{bad:?}");
    }
    // No uniqueid, however long, makes a name that is too long for one.
    assert!(Id::new(record(&"9".repeat(1000)).id.as_str()).is_some());
}

#[test]
fn what_was_not_understood_is_replaced_and_noted() {
    let mut odd = call("1");
    odd.end = "yesterday".into();
    odd.start = String::new();
    let mut now = Moment::now();
    now.at = "2026-11-22T08:00:00Z".parse().unwrap();
    let record = Record::new(odd, "254", now);
    assert_eq!(
        record.notes,
        [
            "the end of the call is no time that ooy knows (yesterday); the time it was handed in is used",
            "the start of the call is missing; its end is used"
        ]
    );
    let times = record.times(&TimeZone::fixed(Offset::constant(3)));
    assert_eq!(times.end, "2026-11-22T11:00:00+03:00");
    assert_eq!(times.start, times.end);
}

#[test]
fn a_call_without_a_number_is_kept_with_the_reason() {
    let mut withheld = call("1");
    withheld.msisdn = "anonymous".into();
    let record = Record::new(withheld, "254", Moment::now());
    assert!(record.is_skipped());
    assert_eq!(
        record.skip_reason.as_deref(),
        Some("the number is withheld")
    );
}

#[test]
fn a_huge_caller_id_is_cut_and_that_is_noted() {
    let mut huge = call("1");
    huge.msisdn = "é".repeat(500_000);
    let record = Record::new(huge, "254", Moment::now());
    assert_eq!(record.msisdn.len(), LONGEST);
    assert_eq!(
        record.notes,
        ["the caller id is 1000000 bytes long; 256 are kept"]
    );
    assert!(record.to_json().len() < 2000);
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_a_few_words() {
    let whole = record("1").to_json();
    assert_eq!(Record::from_json(&whole).unwrap().id, record("1").id);
    let said = |bytes: &[u8]| Record::from_json(bytes).unwrap_err();
    assert_eq!(said(b""), "is empty");
    assert_eq!(said(&whole[..whole.len() / 2]), "ends in the middle");
    assert!(said(&vec![0; 500]).starts_with("is no record of a call"));
    assert_eq!(
        said(br#"{"schema":2,"id":"x"}"#),
        "is of version 2; this ooy knows 1"
    );
    let text = String::from_utf8(whole).unwrap();
    assert!(said(text.replace(":\"1-", ":\"../1-").as_bytes()).contains("no id of a call"));
    assert_eq!(
        said(text.replace("+254712345678", "+2547&x=1").as_bytes()),
        "holds a number that is none"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_call_survives_the_file(
        texts in proptest::collection::vec(any::<String>(), 7),
        country in "[1-9][0-9]{0,2}",
    ) {
        let [msisdn, start, end, direction, uniqueid, linkedid, channel] =
            <[String; 7]>::try_from(texts).unwrap();
        let call = Call {
            msisdn, start, end, direction,
            uniqueid: Some(uniqueid), linkedid: Some(linkedid), channel: Some(channel),
            notes: Vec::new(),
        };
        let record = Record::new(call, &country, Moment::now());
        prop_assert!(Id::new(record.id.as_str()).is_some());
        prop_assert_eq!(Record::from_json(&record.to_json()), Ok(record.clone()));
        let bytes = record.to_json();
        prop_assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let _ = Record::from_json(&bytes);
        // Nor does a record in which one byte was damaged.
        let mut damaged = record("1").to_json();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        if let Ok(record) = Record::from_json(&damaged) {
            record.times(&TimeZone::UTC);
        }
    }
}
