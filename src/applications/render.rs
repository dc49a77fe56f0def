//! Renders a signed specification and an application to the script and directives of a job.
//!
//! Deterministic: the same values give the same text. It depends on nothing that a signature does
//! not cover, but for the approved text and the site's own configuration. The job's id, which Core
//! chooses after the user has signed, stands in one line that is not part of what is shown.

mod arguments;

use std::borrow::Cow;
use std::collections::BTreeMap;

use countersign_config::Product;
use countersign_keys::json::Json;

use crate::catalogue::Startable;
use crate::directive::{Asker, Directive, DirectiveRejection, Directives, Machines};
use crate::invocation::{ApplicationType, ArgumentKind, Body, Parameter, shorten};
use crate::render::arguments::{ArgumentRejection, arguments, joined};
use crate::shell::{quoted, word};
use crate::template::{self, Context, OUTPUT_MAX, Target, TemplateFailure};
use crate::values::{self, Sources, ValueRejection, Values, Workflow, is_module, without_zeros};

/// Most nodes of one job.
const NODES_MAX: i64 = 10_000;

/// Begins every script. A login shell, so that the site's modules are there. `sbatch` reads its
/// directives only up to the first command, which the second line is.
const BEGINNING: &str = "#!/bin/bash -l\nexport SLURM_EXPORT_ENV=ALL\n";

/// Chooses a free port on the node on which the script starts. The instance reads the file.
const CHOOSE_PORT: &str = "\
while UCLOUD_PORT=$((10000 + RANDOM)); (: </dev/tcp/127.0.0.1/$UCLOUD_PORT) 2>/dev/null; do :; done
export UCLOUD_PORT UCLOUD_WEB_PORT=$UCLOUD_PORT UCLOUD_VNC_PORT=$UCLOUD_PORT
printf '%s\\n' \"$UCLOUD_PORT\" >allocated-port.txt
";

/// The beginning of the variables that describe the job.
const OF_UCLOUD: &str = "UCLOUD_";

/// What the site knows of the job. Nothing in it comes from Core but the job's id.
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
    /// Ports that users may open in the browser, beside the one of the application itself.
    pub targets: Vec<Target>,
}

/// Why there is no script. Each is a sentence for the user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderFailure {
    #[error("the job's specification is not in the form of one")]
    Specification,
    /// The evidence is of another application.
    #[error("the job is of another application")]
    OtherApplication,
    #[error("the job's id is not a number")]
    JobId,
    #[error("the job asks for no node, or for more than {NODES_MAX}")]
    Nodes,
    #[error("the job has {0}, which jobs at this computing centre do not have")]
    NoMeaning(&'static str),
    #[error("the application is {0}, which cannot run at this computing centre")]
    Unsupported(&'static str),
    #[error("the application runs a workflow, and the job has none")]
    NoWorkflow,
    #[error("the application has an empty command")]
    NoCommand,
    #[error("the application needs the module {0:?}, which is not a name of a module")]
    Module(String),
    #[error("the application sets the variable {0:?}, which describes the job")]
    Variable(String),
    #[error("the script is longer than {OUTPUT_MAX} bytes")]
    TooLong,
    #[error(transparent)]
    Value(#[from] ValueRejection),
    #[error(transparent)]
    Argument(#[from] ArgumentRejection),
    #[error(transparent)]
    Template(#[from] TemplateFailure),
    #[error(transparent)]
    Directive(#[from] DirectiveRejection),
}

/// What the specification says, as far as the script depends on it.
struct Signed<'j> {
    name: String,
    version: String,
    nodes: i64,
    parameters: Vec<(Cow<'j, str>, Json<'j>)>,
    workflow: Option<Workflow>,
}

/// `specification` is the one that the user signed.
pub fn render(application: &Startable, specification: &Json<'_>, site: &Site<'_>) -> Result<Rendered, RenderFailure> {
    if site.job_id.is_some_and(|id| !is_job_id(id)) {
        return Err(RenderFailure::JobId);
    }
    let signed = Signed::read(specification)?;
    let (name, version) = application.name_and_version();
    if (name, version) != (signed.name.as_str(), signed.version.as_str()) {
        return Err(RenderFailure::OtherApplication);
    }
    let nothing = Body::default();
    let (body, asker) = match application {
        Startable::Approved(approved) => {
            if let Some(what) = approved.invocation().unsupported() {
                return Err(RenderFailure::Unsupported(what));
            }
            (approved.invocation().body(), Asker::Approved)
        }
        Startable::WorkflowOnly(_) if signed.workflow.is_none() => return Err(RenderFailure::NoWorkflow),
        Startable::WorkflowOnly(_) => (&nothing, Asker::Workflow),
    };
    Job { body, asker, signed, site }.render()
}

/// Everything that the script is made of.
struct Job<'r, 'j> {
    body: &'r Body,
    asker: Asker,
    signed: Signed<'j>,
    site: &'r Site<'r>,
}

impl Job<'_, '_> {
    fn render(&self) -> Result<Rendered, RenderFailure> {
        let Self { body, asker, signed, site } = self;
        let machines =
            Machines { machine: &site.product.machine, nodes: u64::try_from(signed.nodes).unwrap_or_default() };
        let values = self.values()?;
        let context = Context { values: &values.named, ucloud: self.ucloud() };
        let mut directives = Directives::default();
        for (name, argument) in &body.sbatch {
            if let Some(value) = joined(argument, &context)? {
                directives.set(name, &value, *asker, machines)?;
            }
        }
        let (command, asked) = self.command(&context)?;
        for (name, value) in &asked.directives {
            // UCloud's own templates ask for no GPU in this way.
            if !(name == "gpus-per-task" && matches!(value.as_str(), "0" | "0.0")) {
                directives.set(name, value, *asker, machines)?;
            }
        }
        let directives = directives.finish(machines)?;
        let mut rest = self.environment(&context)?;
        rest.push_str(&self.modules(&values)?);
        rest.push('\n');
        rest.push_str(&command);
        if !rest.ends_with('\n') {
            rest.push('\n');
        }
        if rest.len() > OUTPUT_MAX {
            return Err(RenderFailure::TooLong);
        }
        let (first, second) = BEGINNING.split_once('\n').unwrap_or((BEGINNING, ""));
        let mut shown = format!("{first}\n");
        for (directive, value) in &directives {
            let value = if value.is_empty() { String::new() } else { format!("={value}") };
            shown.push_str(&format!("#SBATCH --{}{value}\n", directive.option()));
        }
        shown.push_str(second);
        shown.push_str(&rest);
        let id = site.job_id.map(|id| format!("export UCLOUD_JOB_ID={id}\n")).unwrap_or_default();
        let script = format!("{BEGINNING}{id}{rest}");
        Ok(Rendered { script, directives, shown, targets: asked.targets })
    }

    fn values(&self) -> Result<Values, RenderFailure> {
        let Self { body, signed, site, .. } = self;
        let inputs = signed.workflow.iter().flat_map(|workflow| &workflow.inputs);
        let mut declared: Vec<&Parameter> = body.parameters.iter().collect();
        for input in inputs {
            // What is approved counts before what a workflow declares.
            if !declared.iter().any(|known| known.name == input.name) {
                declared.push(input);
            }
        }
        let sources = Sources { local_path: site.local_path, licence: site.licence };
        // A workflow without an approved application has no declaration but its own.
        let of_workflow = |value: &Json<'_>| value.member("type").and_then(Json::as_str) == Some("workflow");
        let is_declared = |name: &str| declared.iter().any(|parameter| parameter.name == name);
        let given: Vec<_> = signed
            .parameters
            .iter()
            .filter(|(name, value)| self.asker == Asker::Approved || is_declared(name) || !of_workflow(value))
            .cloned()
            .collect();
        Ok(values::read(&given, &declared, sources)?)
    }

    /// The lines that run something.
    fn command(&self, context: &Context<'_>) -> Result<(String, template::Asked), RenderFailure> {
        let workflow = self.signed.workflow.as_ref().map_or("", |workflow| workflow.job.as_str());
        let template = match self.body.invocation.as_slice() {
            [] => Some(String::new()),
            [only] if only.kind == ArgumentKind::Jinja => Some(only.template.clone()),
            _ => None,
        };
        if let Some(template) = template {
            let both = if template.is_empty() || workflow.is_empty() { "" } else { "\n" };
            let (script, asked) = template::script(&format!("{template}{both}{workflow}"), context)?;
            return if script.trim().is_empty() { Err(RenderFailure::NoCommand) } else { Ok((script, asked)) };
        }
        let mut words = Vec::new();
        for argument in &self.body.invocation {
            words.extend(arguments(argument, context)?);
        }
        if words.is_empty() {
            return Err(RenderFailure::NoCommand);
        }
        Ok((words.join(" "), template::Asked::default()))
    }

    /// What describes the job, and what the application sets.
    fn environment(&self, context: &Context<'_>) -> Result<String, RenderFailure> {
        let mut lines = String::new();
        for (name, value) in self.described() {
            lines.push_str(&format!("export {OF_UCLOUD}{name}={}\n", word(&value)));
        }
        if self.body.application_type != ApplicationType::Batch {
            lines.push_str(CHOOSE_PORT);
        }
        for (name, argument) in &self.body.environment {
            if name.starts_with(OF_UCLOUD) {
                return Err(RenderFailure::Variable(shorten(name)));
            }
            let value = arguments::exported(argument, context)?;
            lines.push_str(&format!("export {name}={value}\n"));
        }
        Ok(lines)
    }

    fn modules(&self, values: &Values) -> Result<String, RenderFailure> {
        let required = self.body.tool.description().map_or(&[][..], |tool| &tool.required_modules);
        let mut lines = String::new();
        if !required.is_empty() {
            lines.push_str("module purge\n");
        }
        for module in required.iter().chain(&values.modules) {
            if !is_module(module) {
                return Err(RenderFailure::Module(shorten(module)));
            }
            lines.push_str(&format!("module load {}\n", quoted(module)));
        }
        Ok(lines)
    }

    /// The variables `UCLOUD_…`, without those of job and port, which the script sets itself.
    fn described(&self) -> Vec<(&'static str, String)> {
        let Self { signed, site, .. } = self;
        let machine = &site.product.machine;
        let mut described = vec![
            ("APPLICATION_NAME", signed.name.clone()),
            ("APPLICATION_VERSION", signed.version.clone()),
            ("MACHINE_CATEGORY", site.product.category.clone()),
            ("MACHINE_CPU", machine.cpu.to_string()),
            ("MACHINE_CPU_MODEL", machine.cpu_model.clone()),
            ("MACHINE_GPU", machine.gpu.to_string()),
            ("MACHINE_GPU_MODEL", machine.gpu_model.clone()),
            ("MACHINE_MEMORY_IN_GIGS", machine.memory_gb.to_string()),
            ("MACHINE_MEMORY_MODEL", machine.memory_model.clone()),
            ("MACHINE_NAME", site.product.name.clone()),
            ("NODES", signed.nodes.to_string()),
        ];
        described.extend(site.partition.map(|partition| ("PARTITION", partition.to_owned())));
        described.extend(site.qos.map(|qos| ("QOS", qos.to_owned())));
        described
    }

    /// The object `ucloud` of templates.
    fn ucloud(&self) -> minijinja::Value {
        use minijinja::Value;
        let Self { body, signed, site, .. } = self;
        let machine = &site.product.machine;
        let text = |text: &str| Value::from(text);
        // The shell knows these when the script runs; the template does not.
        let variable = |name: &str| Value::from_safe_string(format!("\"${{{OF_UCLOUD}{name}}}\""));
        let of_machine: BTreeMap<&str, Value> = BTreeMap::from([
            ("name", text(&site.product.name)),
            ("category", text(&site.product.category)),
            ("cpu", machine.cpu.into()),
            ("cpuModel", text(&machine.cpu_model)),
            ("memoryInGigs", machine.memory_gb.into()),
            ("memoryModel", text(&machine.memory_model)),
            ("gpu", machine.gpu.into()),
            ("gpuModel", text(&machine.gpu_model)),
        ]);
        let application: BTreeMap<&str, Value> =
            BTreeMap::from([("name", text(&signed.name)), ("version", text(&signed.version))]);
        let mut ucloud: BTreeMap<&str, Value> = BTreeMap::from([
            ("jobId", variable("JOB_ID")),
            ("machine", Value::from_pairs(of_machine)),
            ("nodes", signed.nodes.into()),
            ("application", Value::from_pairs(application)),
        ]);
        ucloud.extend(site.partition.map(|partition| ("partition", text(partition))));
        ucloud.extend(site.qos.map(|qos| ("qos", text(qos))));
        if body.application_type != ApplicationType::Batch {
            ucloud.extend([("webPort", variable("PORT")), ("vncPort", variable("PORT"))]);
        }
        Value::from_pairs(ucloud)
    }
}

impl<'j> Signed<'j> {
    fn read(specification: &Json<'j>) -> Result<Self, RenderFailure> {
        let specification = without_zeros(specification);
        let text = |of: &Json<'_>, name: &str| {
            of.member(name).and_then(Json::as_str).map(str::to_owned).ok_or(RenderFailure::Specification)
        };
        let application = specification.member("application").ok_or(RenderFailure::Specification)?;
        let nodes = specification.member("replicas").map_or(Some(1), Json::as_integer);
        let nodes = nodes.filter(|nodes| (1..=NODES_MAX).contains(nodes)).ok_or(RenderFailure::Nodes)?;
        let (name, version) = (text(application, "name")?, text(application, "version")?);
        for resource in specification.member("resources").map_or(Some(&[][..]), Json::elements).unwrap_or_default() {
            refuse_resource(resource)?;
        }
        let parameters = match specification.member("parameters") {
            None => Vec::new(),
            Some(parameters) => parameters.members().ok_or(RenderFailure::Specification)?.to_vec(),
        };
        let workflow = values::workflow(&parameters)?;
        Ok(Self { name, version, nodes, parameters, workflow })
    }
}

/// Only digits: it stands in the script.
fn is_job_id(id: &str) -> bool {
    (1..=19).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// Resources that a job has beside its parameters. A public link is the gateway's matter.
fn refuse_resource(resource: &Json<'_>) -> Result<(), RenderFailure> {
    let what = match resource.member("type").and_then(Json::as_str).unwrap_or_default() {
        "ingress" => return Ok(()),
        "file" => "a folder that is mounted into a container",
        "peer" => "a connection to another job",
        "network" => "a public address",
        "private_network" => "a private network",
        "block_storage" => "a block device",
        "license_server" => "a licence that is no parameter",
        "api_server" => "a server of UCloud's interface",
        _ => "a resource of an unknown type",
    };
    Err(RenderFailure::NoMeaning(what))
}

impl Startable {
    pub fn name_and_version(&self) -> (&str, &str) {
        match self {
            Self::Approved(approved) => (approved.name(), approved.version()),
            Self::WorkflowOnly(workflow) => (workflow.name(), workflow.version()),
        }
    }
}

#[cfg(test)]
mod tests;
