//! An entry of the log has one spelling: what is read is written the same again.

use audit::Record;

/// Longer names are cut when they are written, and were not always.
const MAX_NAME_BYTES: usize = 1_024;

pub(crate) fn hold(data: &[u8]) -> bool {
    let Ok(record) = Record::decode(data) else { return false };
    let again = record.encode();
    assert!(again == data || data.len() > MAX_NAME_BYTES, "it has two spellings");
    let read = Record::decode(&again).expect("what is written is read");
    assert_eq!(read.encode(), again);
    for (_, value) in record.fields() {
        let _ = value.to_string();
    }
    true
}
