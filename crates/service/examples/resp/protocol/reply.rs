//! Replies, and numbers as redis reads and writes them. Nothing here allocates but the output itself.

/// Appends a line that begins with `kind` and ends with `number`.
fn line(output: &mut Vec<u8>, kind: u8, number: i64) {
    if let Ok(digit @ 0..10) = u8::try_from(number) {
        output.extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']);
        return;
    }
    output.push(kind);
    append_number(output, number);
    output.extend_from_slice(b"\r\n");
}

/// Appends a number as redis writes it.
pub(super) fn append_number(output: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        output.push(b'-');
    }
    output.extend_from_slice(&digits[at..]);
}

/// Reads a number as redis does: no sign but a minus, no blanks, and no zeros before it.
pub(super) fn parse_number(bytes: &[u8]) -> Option<i64> {
    let digits = match bytes {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] => bytes,
        [b'-', digits @ ..] if matches!(digits, [b'1'..=b'9', ..]) => digits,
        _ => return None,
    };
    // Below zero, where there is one number more.
    let negated = digits.iter().try_fold(0_i64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_sub(i64::from(byte - b'0')),
        _ => None,
    })?;
    if digits.len() < bytes.len() { Some(negated) } else { negated.checked_neg() }
}

pub(super) fn integer(output: &mut Vec<u8>, number: i64) {
    line(output, b':', number);
}

/// Appends a number of things.
pub(super) fn count(output: &mut Vec<u8>, count: usize) {
    integer(output, i64::try_from(count).unwrap_or(i64::MAX));
}

/// Appends the beginning of a list of so many replies.
pub(super) fn array(output: &mut Vec<u8>, len: usize) {
    line(output, b'*', i64::try_from(len).unwrap_or(i64::MAX));
}

/// Appends the beginning of a value of so many bytes.
pub(super) fn bulk_begin(output: &mut Vec<u8>, len: usize) {
    line(output, b'$', i64::try_from(len).unwrap_or(i64::MAX));
}

pub(super) fn bulk(output: &mut Vec<u8>, value: &[u8]) {
    bulk_begin(output, value.len());
    output.extend_from_slice(value);
    output.extend_from_slice(b"\r\n");
}

pub(super) fn null(output: &mut Vec<u8>) {
    output.extend_from_slice(b"$-1\r\n");
}

pub(super) fn ok(output: &mut Vec<u8>) {
    output.extend_from_slice(b"+OK\r\n");
}

/// Appends an error. A line break in it would end it, so it becomes a blank, as in redis.
pub(super) fn error(output: &mut Vec<u8>, text: &[u8]) {
    output.push(b'-');
    output.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    output.extend_from_slice(b"\r\n");
}
