//! The licences that a user signed for a job, as its script gets them.
//!
//! A licence is named by Core's number. The script gets its value only if the server has that
//! number on record for this user, whose signed request made it.

use std::collections::{BTreeSet, HashMap};

use countersign_ipc::server_protocol::{KnownLicence, LICENCES_READ, Licences, LicencesRead};
use countersign_keys::identity::{CoreResourceId, Username};
use countersign_keys::json::Json;
use countersign_keys::store::licences::LICENCES_MAX;

use super::Site;
use super::error::JobsError;

/// The values of a job's licences, by Core's number. Keys of the site, so there is no `Debug`.
pub(super) struct LicenceValues(HashMap<CoreResourceId, String>);

impl LicenceValues {
    /// The value of the licence of that number; `None` if the user has none.
    pub(super) fn value(&self, number: &str) -> Option<String> {
        self.0.get(&CoreResourceId::parse(number).ok()?).cloned()
    }
}

impl Site {
    /// The licences of a job that is about to be rendered.
    pub(super) async fn licences(
        &self,
        username: &Username,
        specification: &Json<'_>,
    ) -> Result<LicenceValues, JobsError> {
        let numbers = signed(specification);
        if numbers.is_empty() {
            return Ok(LicenceValues(HashMap::new()));
        }
        if numbers.len() > LICENCES_MAX {
            return Err(JobsError::Specification("the job has too many licences"));
        }
        let read = LicencesRead { username: username.clone(), numbers: numbers.into_iter().collect() };
        let Licences { licences } = self.server.ask(LICENCES_READ, &read).await?;
        let value = |KnownLicence { number, value }| (number, value);
        Ok(LicenceValues(licences.into_iter().map(value).collect()))
    }
}

/// The licences in the parameters of a signed specification. What is no number is no licence: the
/// script is refused for it.
fn signed(specification: &Json<'_>) -> BTreeSet<CoreResourceId> {
    let parameters = specification.member("parameters").and_then(Json::members).unwrap_or_default();
    let is_licence = |value: &&Json<'_>| value.member("type").and_then(Json::as_str) == Some("license_server");
    let number = |value: &Json<'_>| CoreResourceId::parse(value.member("id")?.as_str()?).ok();
    parameters.iter().map(|(_, value)| value).filter(is_licence).filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j09_licences_are_those_of_the_signed_parameters() {
        let read = |text: &str| {
            let specification = Json::parse(text.as_bytes(), 16).unwrap();
            signed(&specification).iter().map(|number| number.as_str().to_owned()).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(read("{}"), none);
        let one = r#"{"type":"license_server","id":"7"}"#;
        assert_eq!(read(&format!(r#"{{"parameters":{{"a":{one},"b":{one},"c":{{"type":"text","id":"8"}}}}}}"#)), ["7"]);
        assert_eq!(read(&format!(r#"{{"resources":[{one}],"parameters":{{}}}}"#)), none);
        assert_eq!(read(r#"{"parameters":{"a":{"type":"license_server","id":"../7"}}}"#), none);
        assert_eq!(read(r#"{"parameters":{"a":{"type":"license_server","id":7}}}"#), none);
    }
}
