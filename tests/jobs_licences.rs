//! Licences in jobs, on a real Slurm, as real accounts: a key goes to the user who signed for it.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;

use crate::jobs_web::Site;
use crate::support::slurm::Slurm;
use crate::support::test_site::{PROVIDER, Person, TestSite, write_file};
use countersign_portal::core::{Resource, ResourceDeed};
use countersign_portal::{Answer, Deed, Endpoint};
use serde_json::{Value, json};

const PRODUCTS: &str = "\n[[products]]\nname = \"matlab\"\ncategory = \"matlab\"\ntype = \"license\"\n\
    address = \"licences.example.org:27000\"\nkey = \"matlab.key\"\n\
    [[products]]\nname = \"ansys\"\ncategory = \"ansys\"\ntype = \"license\"\naddress = \"licences.example.org:1055\"\n";

const KEY: &str = "A1B2-C3D4";

/// A centre that offers licences, with two users.
struct LicenceSite {
    site: Site,
    bob: Person,
}

impl LicenceSite {
    async fn open() -> Self {
        let slurm = Slurm::start(&["alice", "bob"]).await;
        let tables = format!("{}{PRODUCTS}", slurm.tables());
        let centre = TestSite::furnish_at(Endpoint::plain, "", &tables).await;
        write_file(&centre.config.with_file_name("matlab.key"), KEY, 0o600, Some("ucloud"));
        let site = Site::of(slurm, centre.opened().await).await;
        let bob = site.centre.connect("bob").await;
        site.until_served(&bob).await;
        Self { site, bob }
    }

    fn alice(&self) -> &Person {
        &self.site.alice
    }

    fn create(number: &str, product: &str) -> Deed {
        let asked = json!({"product": {"id": product, "category": product, "provider": PROVIDER}, "labels": {}});
        Deed::Resource(ResourceDeed::Create(Resource::Licence, number.to_owned(), asked))
    }

    async fn perform(&self, person: &Person, deed: Deed) -> Answer {
        self.site.centre.perform(person, &deed).await
    }

    /// An application that says what it got.
    fn application() -> Value {
        let mut application = Site::application("BATCH", "echo {{ licence }}\n");
        application["invocation"]["parameters"] = json!([{
            "type": "license_server", "name": "licence", "optional": false, "defaultValue": null, "title": "Licence",
            "description": "", "min": null, "max": null, "step": null, "unitName": null, "trueValue": "",
            "falseValue": "", "options": null, "tagged": ["matlab"], "supportedModules": null,
        }]);
        application
    }

    fn specification(number: &str) -> Value {
        let mut specification = Site::specification(1);
        specification["parameters"] = json!({"licence": {"type": "license_server", "id": number}});
        specification
    }

    async fn submit(&self, person: &Person, job: &str, licence: &str) -> Answer {
        self.site.submit(person, job, &Self::specification(licence), &Self::application()).await
    }

    /// What a job's application said.
    async fn said(&self, person: &Person, job: &str) -> String {
        let file = person.home.join(format!("ucloud-jobs/{job}/stdout.txt"));
        let read = || fs::read_to_string(&file).unwrap_or_default();
        self.site.centre.until("the application speaks", async || read().ends_with('\n')).await;
        read()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an installation: run by ./test"]
async fn j09_a_job_gets_the_licences_that_its_user_signed() {
    let licences = LicenceSite::open().await;
    let (alice, bob, core) = (licences.alice(), &licences.bob, &licences.site.centre.core);
    let answer = licences.perform(alice, LicenceSite::create("71", "matlab")).await;
    assert!(answer.is_ok(), "{answer:?}\n{}", licences.site.centre.last_words());
    assert!(licences.perform(bob, LicenceSite::create("72", "ansys")).await.is_ok());

    let started = licences.submit(alice, "5", "71").await;
    assert!(started.is_ok(), "{started:?}\n{}", licences.site.centre.last_words());
    assert_eq!(licences.said(alice, "5").await, format!("licences.example.org:27000/{KEY}\n"));
    let started = licences.submit(bob, "6", "72").await;
    assert!(started.is_ok(), "{started:?}");
    assert_eq!(licences.said(bob, "6").await, "licences.example.org:1055\n", "a licence without a key");

    // Another user's licence, and one that Core invents.
    for number in ["71", "99"] {
        let refused = licences.submit(bob, "7", number).await;
        assert!(refused.status == 400 && refused.text("why").contains("does not have"), "{number}: {refused:?}");
    }
    // Core swaps the product in what bob signed, and the number in bob's job.
    let signed = licences.site.centre.signed(bob, &LicenceSite::create("73", "ansys"));
    let swapped = signed.altered(|body| {
        body["items"][0]["specification"]["product"] =
            json!({"id": "matlab", "category": "matlab", "provider": PROVIDER});
    });
    assert_eq!(core.invoke(&swapped).await.unwrap().status, 482);
    let job = licences.site.request(bob, "8", LicenceSite::specification("72"), &LicenceSite::application());
    let swapped = job.altered(|body| body["items"][0]["specification"]["parameters"]["licence"]["id"] = json!("71"));
    assert_eq!(core.invoke(&swapped).await.unwrap().status, 482);
    // Core gives a licence of bob's the number of another of his, of another product.
    let taken = licences.perform(bob, LicenceSite::create("72", "matlab")).await;
    assert_eq!(taken.status, 409, "{taken:?}");
    // What is no licence here, and what has no signature.
    assert_eq!(licences.perform(bob, LicenceSite::create("74", "small")).await.status, 400);
    let unsigned = core.request(&bob.username, &LicenceSite::create("75", "matlab"), None).unwrap();
    assert_eq!(core.invoke(&unsigned).await.unwrap().status, 482);

    // A licence that is deleted is good for no later job.
    let delete = Deed::Resource(ResourceDeed::Delete(Resource::Licence, "71".to_owned()));
    assert!(licences.perform(bob, delete.clone()).await.is_ok(), "nothing of bob's has this number");
    assert!(licences.submit(alice, "9", "71").await.is_ok());
    assert!(licences.perform(alice, delete).await.is_ok());
    assert_eq!(licences.submit(alice, "10", "71").await.status, 400);
}
