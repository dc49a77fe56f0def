//! Renders a signed specification and an application to the script and directives of a job.

use countersign_config::Product;
use countersign_keys::json::Json;

use crate::catalogue::Startable;
use crate::directive::Directive;

/// What the site knows of the job. Nothing in it comes from Core.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Core's id of the job; `None` for a preview. It stands in [`Rendered::script`] alone.
    pub job_id: Option<&'a str>,
    /// The machine of the job.
    pub product: &'a Product,
    pub partition: Option<&'a str>,
    pub qos: Option<&'a str>,
    /// The local path of a UCloud path, absolute, or a sentence that says why there is none.
    pub local_path: &'a dyn Fn(&str) -> Result<String, String>,
    /// The value of a licence, such as `address:port/key`.
    pub licence: &'a dyn Fn(&str) -> Option<String>,
}

/// The script of a job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendered {
    /// Given to `sbatch` on standard input.
    pub script: String,
    /// Given to `sbatch` as arguments; each at most once, in their order.
    pub directives: Vec<(Directive, String)>,
    /// The text that is previewed, and whose SHA-256 is signed: script and directives. It does not
    /// have the job's id, which Core chooses after the user has signed.
    pub shown: String,
}

/// Why there is no script.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderFailure {
    /// This build renders none.
    #[error("this provider does not offer this")]
    NotOffered,
}

/// `specification` is the one that the user signed.
pub fn render(
    _application: &Startable,
    _specification: &Json<'_>,
    _site: &Site<'_>,
) -> Result<Rendered, RenderFailure> {
    Err(RenderFailure::NotOffered)
}
