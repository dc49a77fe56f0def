//! The output of alice's instance. The server reads it from a pipe and writes it to a file, so a
//! line can follow the answer that it tells of: a test waits for what has to come, and only what
//! must not come is judged at once.

use std::fs;

use serde_json::Value;

use super::test_site::{Person, TestSite};

/// The log of alice's instance, below the state directory.
const LOG: &str = "log/instance-1101.log";

impl TestSite {
    /// The log so far.
    pub(crate) fn instance_log(&self) -> String {
        fs::read_to_string(self.state.join(LOG)).unwrap_or_default()
    }

    /// Starts alice's instance with a first request, and waits for its decision: the number of
    /// decisions is certain from then on.
    pub(crate) async fn begin_to_judge(&self, alice: &Person) {
        assert!(self.browse(alice, "/home").await.is_ok(), "{}", self.last_words());
        self.until_judged(1, "the instance has judged the first request").await;
    }

    /// The decisions of alice's instance so far.
    pub(crate) fn judged(&self) -> Vec<Value> {
        let log = self.instance_log();
        let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["process"] == "user").collect()
    }

    /// Waits for so many decisions of alice's instance. Panics if there are more.
    pub(crate) async fn until_judged(&self, count: usize, what: &str) {
        self.until(what, async || self.judged().len() >= count).await;
        assert_eq!(self.judged().len(), count, "{what}");
    }
}
