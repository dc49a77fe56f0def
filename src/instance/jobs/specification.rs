//! Reads what the user signed of a job: application, product, nodes and time. Nothing here comes
//! from Core.

use countersign_config::{Product, ProductKind};
use countersign_keys::identity::ProviderId;
use countersign_keys::json::Json;

use super::error::JobsError;
use crate::resource::signed_product;

/// Most nodes of a job. A partition may allow fewer.
const NODES_MAX: i64 = 1_024;
/// Most seconds in a signed time: 30 years, far below any overflow.
const SECONDS_MAX: i64 = 1_000_000_000;
const S_PER_MINUTE: i64 = 60;
const S_PER_HOUR: i64 = 3_600;

/// The part of a signed specification that this provider decides by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted<'c> {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) product: &'c Product,
    pub(super) nodes: u32,
    pub(super) minutes: u32,
}

impl<'c> Wanted<'c> {
    pub(super) fn read(
        specification: &Json<'_>,
        products: &'c [Product],
        provider: &ProviderId,
        time_max_h: u32,
    ) -> Result<Self, JobsError> {
        let text =
            |of: &str, name: &str| specification.member(of).and_then(|of| of.member(name)).and_then(Json::as_str);
        let application = |name: &str| text("application", name).map(str::to_owned);
        let no_application = JobsError::Specification("the job names no application and version");
        let (Some(name), Some(version)) = (application("name"), application("version")) else {
            return Err(no_application);
        };
        let product = signed_product(specification, ProductKind::Compute, products, provider);
        let product = product.ok_or(JobsError::Specification("this provider has no such machine"))?;
        let nodes = match specification.member("replicas") {
            None | Some(Json::Null) => Some(1),
            Some(nodes) => nodes.as_integer().filter(|nodes| (1..=NODES_MAX).contains(nodes)),
        };
        let nodes = nodes.and_then(|nodes| u32::try_from(nodes).ok());
        let nodes = nodes.ok_or(JobsError::Specification("the number of nodes is not possible"))?;
        let minutes = specification.member("timeAllocation").and_then(minutes);
        let minutes = minutes.ok_or(JobsError::Specification("the job has no time limit: choose one"))?;
        if minutes > time_max_h.saturating_mul(60) {
            return Err(JobsError::Specification("the job asks for more time than is allowed here"));
        }
        Ok(Self { name, version, product, nodes, minutes })
    }
}

/// A signed time in minutes, rounded up; `None` if it is nothing, or no time.
pub(super) fn minutes(time: &Json<'_>) -> Option<u32> {
    let part = |name: &str| match time.member(name) {
        None | Some(Json::Null) => Some(0),
        Some(value) => value.as_integer().filter(|value| (0..=SECONDS_MAX).contains(value)),
    };
    time.members()?;
    let seconds = part("hours")?
        .checked_mul(S_PER_HOUR)?
        .checked_add(part("minutes")?.checked_mul(S_PER_MINUTE)?)?
        .checked_add(part("seconds")?)?;
    let minutes = seconds.checked_add(S_PER_MINUTE - 1)? / S_PER_MINUTE;
    u32::try_from(minutes).ok().filter(|minutes| *minutes > 0)
}

/// The UCloud paths in a signed specification, at any depth.
pub(super) fn paths<'j>(value: &'j Json<'_>) -> Vec<&'j str> {
    let mut found = Vec::new();
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        found.extend(value.member("path").and_then(Json::as_str));
        left.extend(value.members().unwrap_or_default().iter().map(|(_, value)| value));
        left.extend(value.elements().unwrap_or_default());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_whole_minutes_above_none() {
        let check = |text: &str, want: Option<u32>| {
            assert_eq!(minutes(&Json::parse(text.as_bytes(), 8).unwrap()), want, "{text}");
        };
        check(r#"{"hours":1}"#, Some(60));
        check(r#"{"hours":1,"minutes":30,"seconds":1}"#, Some(91));
        check(r#"{"seconds":1}"#, Some(1));
        check("{}", None);
        check(r#"{"hours":0}"#, None);
        check(r#"{"hours":-1,"minutes":120}"#, None);
        check(r#"{"hours":"1"}"#, None);
        check(r#"{"hours":1.5}"#, None);
        check(r#"{"hours":9007199254740991}"#, None);
        check("7", None);
    }

    #[test]
    fn paths_are_found_wherever_they_stand() {
        let text =
            br#"{"parameters":{"a":{"type":"file","path":"/1/x"},"b":{"value":"/2/y"}},"resources":[{"path":"/3"}]}"#;
        let json = Json::parse(text, 8).unwrap();
        let mut found = paths(&json);
        found.sort_unstable();
        assert_eq!(found, ["/1/x", "/3"]);
    }
}
