//! CRC-32C (Castagnoli), reflected, as iSCSI and ext4 use it.

/// Continues the checksum `crc` (0 to start) over `bytes`.
#[cfg(feature = "std")]
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

#[cfg(not(feature = "std"))]
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    by_table(crc, bytes)
}

/// One byte at a time: for targets where nothing can be detected at run time, and to test the other against.
#[cfg(any(test, not(feature = "std")))]
fn by_table(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!crc, |crc, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_published_check_value() {
        assert_eq!(crc32c(0, b"123456789"), 0xE306_9283);
        assert_eq!(by_table(0, b"123456789"), 0xE306_9283);
        assert_eq!(by_table(by_table(0, b"1234"), b"56789"), 0xE306_9283);
    }
}
