//! Numbers of bytes as people write them.

use std::num::NonZeroU64;

/// A number of bytes: `65536`, `64KiB` or `1MiB`, and `kB`, `MB` and `GB` in powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) NonZeroU64);

const UNITS: [(&str, u64); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Returns a parser of numbers of bytes from 1 to `max`.
pub(crate) fn bytes_to(max: u64) -> impl Fn(&str) -> Result<Bytes, String> + Clone {
    move |text| {
        let unit = UNITS.iter().find_map(|(name, len)| Some((text.strip_suffix(name)?, *len)));
        let (digits, len) = unit.unwrap_or((text, 1));
        let count = digits.parse().ok().and_then(|count: u64| count.checked_mul(len));
        let count = count.filter(|count| *count <= max).and_then(NonZeroU64::new);
        count.map(Bytes).ok_or_else(|| {
            format!("expected a number of bytes such as 65536, 64KiB or 1MB, from 1 to {max}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_or_of_1000_and_written_in_one_way() {
        let parse = bytes_to(u32::MAX.into());
        for (text, bytes) in
            [("1", 1), ("64KiB", 65_536), ("3MiB", 3 << 20), ("1GiB", 1 << 30), ("2kB", 2_000)]
        {
            assert_eq!(parse(text).map(|bytes| bytes.0.get()), Ok(bytes), "{text}");
        }
        assert_eq!(parse("4GB").map(|bytes| bytes.0.get()), Ok(4_000_000_000));
        for text in ["", "0", "0KiB", "KiB", "-1", "1.5MiB", "64k", "64 KiB", "1KB", "4GiB", "1kib"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(bytes_to(1024)("1KiB").is_ok() && bytes_to(1023)("1KiB").is_err());
    }
}
