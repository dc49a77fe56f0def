//! A provider with its Core and its pages, for programs that drive browsers. It prints the
//! addresses as one line of JSON, answers each line of input with a line, and exits at the end of
//! its input.

mod errand;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use countersign_portal::core::Control;
use countersign_portal::site::Site;
use countersign_portal::{Core, CoreKeys};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use self::errand::{Errand, Errands};
use crate::house::{Accounts, Front, House, Plan};
use crate::page::Pages;
use crate::trouble::{Doing as _, Trouble};

/// How long the provider may take to start.
const START_MAX: Duration = Duration::from_secs(20);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// Options of the command `stage`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `countersign`.
    #[arg(long)]
    bin: PathBuf,
    /// Whose account runs the users' instances.
    #[arg(long, value_enum)]
    accounts: Accounts,
    /// A call that also needs a passkey; may be repeated.
    #[arg(long)]
    step_up: Vec<String>,
}

/// Serves and executes lines until the input ends.
pub(crate) async fn run(options: Options) -> Result<(), Trouble> {
    let keys = Arc::new(CoreKeys::generate("hpc")?);
    let control = Arc::new(Control::start(Arc::clone(&keys)).await?);
    let plan = Plan { accounts: options.accounts, program: &options.bin, front: Front::Tls, step_up: &options.step_up };
    let house = Arc::new(House::build(&plan, &keys, &control)?);
    let served = serve(&keys, &control, &house).await;
    let last_words = house.last_words();
    house.close().await;
    served.map_err(|trouble| match last_words.as_str() {
        "" => trouble,
        words => Trouble::new(format!("{trouble}\nThe server's last words:\n{words}")),
    })
}

async fn serve(keys: &Arc<CoreKeys>, control: &Arc<Control>, house: &Arc<House>) -> Result<(), Trouble> {
    house.start_server()?;
    wait_until_it_serves(house, &new_core(keys, control, house)?).await?;
    let pages = Pages::open(keys, control, house, Site::bind().await?).await?;
    say(&json!({
        "provider": house.origin(),
        "portal": control.origin(),
        "desk": pages.desk_origin(),
        "ca": house.authority(),
        "users": house.people().iter().map(|person| json!({
            "username": person.username, "account": person.account, "home": person.home,
        })).collect::<Vec<_>>(),
    }))?;
    let errands = Errands::new(Arc::clone(keys), Arc::clone(control), Arc::clone(house));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.doing("standard input")? {
        if line.trim().is_empty() {
            continue;
        }
        let done = match serde_json::from_str::<Errand>(&line) {
            Ok(errand) => errands.run(errand).await,
            Err(why) => Err(Trouble::while_doing("not a command", &why)),
        };
        say(&done.unwrap_or_else(|trouble| json!({"ok": false, "error": trouble.to_string()})))?;
    }
    Ok(())
}

/// Makes a Core for the provider of this centre.
pub(crate) fn new_core(keys: &Arc<CoreKeys>, control: &Control, house: &House) -> Result<Core, Trouble> {
    Ok(Core::new(Arc::clone(keys), house.endpoint()?).with_control(control))
}

/// Waits until the gateway answers Core. Returns the time that this took.
pub(crate) async fn wait_until_it_serves(house: &House, core: &Core) -> Result<Duration, Trouble> {
    let begun = Instant::now();
    while !core.retrieve_manifest().await.is_ok_and(|answer| answer.is_ok()) {
        if house.has_fallen() {
            return Err(Trouble::new("the server has ended"));
        }
        if begun.elapsed() > START_MAX {
            return Err(Trouble::new(format!("the gateway does not serve after {START_MAX:?}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(begun.elapsed())
}

fn say(value: &Value) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).doing("standard output")
}
