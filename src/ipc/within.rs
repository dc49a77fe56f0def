//! The deadline for an instance's response to Core's call, which the gateway sends with each
//! request.
//!
//! Core gives up after 5 s, including the wait for a deposit. The header can only shorten an
//! instance's own limit, so a compromised gateway gains no time.

use std::time::Duration;

use http::HeaderMap;

/// The header, in whole milliseconds. The gateway builds the head, so a client's header never
/// passes.
pub const WITHIN: &str = "x-answer-within-ms";

/// From a request's arrival at the gateway to its response. Core waits 5 s, of which the network
/// takes a part.
pub const ANSWERED_WITHIN: Duration = Duration::from_millis(4_500);

/// An instance's own limit, which also applies without a header.
pub const INSTANCE_MAX: Duration = Duration::from_millis(3_500);

/// Digits of a number that is read: enough for more than a minute.
const DIGITS_MAX: usize = 6;

pub fn write(left: Duration) -> String {
    left.as_millis().to_string()
}

/// The time that an instance may take. An invalid or repeated header counts as absent.
pub fn read(headers: &HeaderMap) -> Duration {
    let mut values = headers.get_all(WITHIN).iter();
    let only = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    let is_number =
        |text: &&str| (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let told = only.filter(is_number).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    told.map_or(INSTANCE_MAX, |told| told.min(INSTANCE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c08_an_instance_takes_what_is_left_and_never_more_than_its_own_time() {
        let check = |values: &[&str], want: Duration| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WITHIN, value.parse().unwrap());
            }
            assert_eq!(read(&headers), want, "{values:?}");
        };
        check(&["1400"], Duration::from_millis(1_400));
        check(&["0"], Duration::ZERO);
        check(&[&write(Duration::from_micros(3_099_900))], Duration::from_millis(3_099));
        check(&["3501"], INSTANCE_MAX);
        check(&["999999"], INSTANCE_MAX);
        for bad in [&[][..], &[""], &["-1"], &["+1"], &["1.5"], &["1 s"], &["1000000"], &["1", "1"]] {
            check(bad, INSTANCE_MAX);
        }
    }
}
