//! TensorBoard's event files: TFRecords of `Event` messages, each with one scalar.
//!
//! A record is its length, a masked CRC-32C of that, the message, and a masked CRC-32C of the message. Of `Event` there
//! are the fields wall_time (1, double), step (2), file_version (3) and summary (5); of a summary's value tag (1) and
//! simple_value (2, float). The wall time is the virtual time.

use super::COLUMNS;
use crate::results::RoundRow;

/// The event file of a run.
pub(super) fn events(rows: &[&RoundRow]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut first = Vec::new();
    double(&mut first, 1, 0.0);
    bytes(&mut first, 3, b"brain.Event:2");
    record(&mut file, &first);
    for row in rows {
        for (name, value) in COLUMNS.iter().map(|(name, of)| (name, of(row))).filter(|(_, value)| value.is_finite()) {
            let (mut event, mut summary, mut scalar) = (Vec::new(), Vec::new(), Vec::new());
            bytes(&mut scalar, 1, name.as_bytes());
            scalar.push(2 << 3 | 5);
            scalar.extend((value as f32).to_le_bytes());
            bytes(&mut summary, 1, &scalar);
            double(&mut event, 1, row.virtual_seconds);
            event.push(2 << 3);
            varint(&mut event, row.round);
            bytes(&mut event, 5, &summary);
            record(&mut file, &event);
        }
    }
    file
}

fn record(file: &mut Vec<u8>, message: &[u8]) {
    let length = (message.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length));
    file.extend(message);
    file.extend(masked(message));
}

/// TensorFlow's masked checksum: rotated, and a constant added.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn double(message: &mut Vec<u8>, field: u8, value: f64) {
    message.push(field << 3 | 1);
    message.extend(value.to_le_bytes());
}

fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u64);
    message.extend(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_tensorflow() {
        // The first record of every file that TensorFlow's own writer makes ends so: the version, of 13 bytes at time 0.
        let file = events(&[]);
        assert_eq!(file[..8], 24u64.to_le_bytes());
        assert_eq!(&file[12 + 11..file.len() - 4], b"brain.Event:2");
        // RFC 3720's CRC-32C of 32 zeros, 8a9136aa, masked by hand.
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes());
    }

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        let mut message = Vec::new();
        varint(&mut message, 300);
        assert_eq!(message, [0xac, 0x02]);
    }
}
