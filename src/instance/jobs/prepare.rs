//! Renders a signed specification and an approved application to what `sbatch` gets, for a job and
//! for its preview.
//!
//! Reads the approved file, and never a word of Core's but the invocation that is compared with it.

use std::sync::Arc;

use countersign_applications::{Catalogue, Invocation, NotApproved, RenderFailure, Rendered, Startable, render};
use countersign_config::Product;
use countersign_keys::identity::{CoreJobId, Username};
use countersign_keys::intent::ScriptDigest;
use countersign_keys::json::{DEPTH_MAX, Json};
use countersign_slurm::{ExtraOption, Script, Submission};

use super::Site;
use super::error::JobsError;
use super::interfaces::Interfaces;
use super::licences::LicenceValues;
use super::specification::{Wanted, paths};
use crate::drives::table::Drives;

/// MB in a GB of a product's memory, as UCloud's own module counts.
const MB_PER_GB: i64 = 1_000;

/// What Core says that the application is.
pub(super) enum Claimed {
    /// Core's invocation, which must be the approved one.
    Sent(Invocation),
    /// A preview: Core is not asked.
    Nothing,
}

/// A job, rendered.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) application: (String, String),
    pub(super) rendered: Rendered,
    product: Product,
    pub(super) nodes: u32,
    minutes: u32,
    pub(super) interfaces: Interfaces,
    /// The account at Slurm that the user chose.
    account: Option<String>,
}

impl Prepared {
    /// A job of a test, which no application renders.
    #[cfg(test)]
    pub(super) fn of(
        application: (String, String),
        rendered: Rendered,
        product: Product,
        nodes: u32,
        minutes: u32,
    ) -> Self {
        Self { application, rendered, product, nodes, minutes, interfaces: Interfaces::default(), account: None }
    }

    /// The digest of the text that the user sees.
    pub(super) fn digest(&self) -> ScriptDigest {
        ScriptDigest::of(&self.rendered.shown)
    }

    /// What `sbatch` gets.
    pub(super) fn submission(
        &self,
        id: &CoreJobId,
        tag: &str,
        folder: std::path::PathBuf,
    ) -> Result<Submission, JobsError> {
        let (machine, placement) = (&self.product.machine, &self.product.placement);
        let count = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        let extra = self.rendered.directives.iter().map(|(directive, value)| ExtraOption {
            name: directive.option(),
            value: (!directive.is_bare()).then(|| value.clone()),
        });
        Ok(Submission {
            partition: placement.partition.clone(),
            qos: placement.qos.clone(),
            account: placement.account.clone().or_else(|| self.account.clone()),
            constraint: placement.constraint.clone(),
            nodes: self.nodes,
            cpus_per_task: count(machine.cpu).max(1),
            memory_mb: u64::try_from(machine.memory_gb.saturating_mul(MB_PER_GB)).ok().filter(|memory| *memory > 0),
            gpus: count(machine.gpu),
            time_minutes: self.minutes,
            name: id.as_str().to_owned(),
            folder,
            tag: tag.to_owned(),
            extra: extra.collect(),
            script: Script::parse(&self.rendered.script)?,
        })
    }
}

impl Site {
    /// Renders a job as the user is about to sign it.
    pub(super) async fn preview(
        self: &Arc<Self>,
        username: &Username,
        specification: &Json<'_>,
    ) -> Result<Prepared, JobsError> {
        match self.prepare(None, username, specification, Claimed::Nothing).await {
            // It brings no script of its own, so it needs an approved application.
            Err(JobsError::Render(RenderFailure::NoWorkflow)) => Err(NotApproved::Unknown.into()),
            prepared => prepared,
        }
    }

    /// Renders a job. Opens files, so it runs on a thread of its own.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        id: Option<&CoreJobId>,
        username: &Username,
        specification: &Json<'_>,
        claimed: Claimed,
    ) -> Result<Prepared, JobsError> {
        self.files.drive_numbers().learn_of(paths(specification).into_iter()).await;
        let account = self.chosen_account(specification).await?;
        let licences = self.licences(username, specification).await?;
        let text = serde_json::to_vec(specification).map_err(|_| JobsError::Missing("a specification"))?;
        let (site, id) = (Arc::clone(self), id.cloned());
        let work = tokio::task::spawn_blocking(move || {
            let specification = Json::parse(&text, DEPTH_MAX).map_err(|_| JobsError::Missing("a specification"))?;
            site.prepared(id.as_ref(), &specification, &licences, &claimed)
        });
        let prepared = work.await.map_err(|_| JobsError::CutShort)??;
        if account.is_some() && prepared.product.placement.account.is_some() {
            return Err(JobsError::Specification("jobs on this machine have an account of the site's: choose none"));
        }
        Ok(Prepared { account, ..prepared })
    }

    fn prepared(
        &self,
        id: Option<&CoreJobId>,
        specification: &Json<'_>,
        licences: &LicenceValues,
        claimed: &Claimed,
    ) -> Result<Prepared, JobsError> {
        let wanted = Wanted::read(specification, &self.products, &self.provider, self.slurm.time_max_h)?;
        let startable = startable(&self.catalogue, &wanted, claimed)?;
        let drives = self.files.drives();
        let place = &wanted.product.placement;
        let site = countersign_applications::Site {
            job_id: id.map(CoreJobId::as_str),
            product: wanted.product,
            partition: place.partition.as_deref(),
            qos: place.qos.as_deref(),
            local_path: &|path| local_path(drives, path),
            licence: &|number| licences.value(number),
        };
        let rendered = render(&startable, specification, &site)?;
        let too_many = JobsError::Specification("the script names too many interfaces");
        let interfaces = Interfaces::of(&startable, &rendered).ok_or(too_many)?;
        let Wanted { name, version, product, nodes, minutes } = wanted;
        Ok(Prepared {
            application: (name, version),
            rendered,
            product: product.clone(),
            nodes,
            minutes,
            interfaces,
            account: None,
        })
    }
}

fn startable(catalogue: &Catalogue, wanted: &Wanted<'_>, claimed: &Claimed) -> Result<Startable, NotApproved> {
    match claimed {
        Claimed::Sent(sent) => catalogue.startable(&wanted.name, &wanted.version, sent),
        Claimed::Nothing => catalogue.without_core(&wanted.name, &wanted.version),
    }
}

/// The path of a file on the machines, from its path at UCloud. The file need not exist.
fn local_path(drives: &Drives, path: &str) -> Result<String, String> {
    let local = drives.local(path).map_err(|error| error.to_string())?;
    local.into_os_string().into_string().map_err(|_| "the name of the file is not text".to_owned())
}
