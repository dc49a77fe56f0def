//! Binding: the parameters that the user signed are those of the request that came (protocol,
//! section 3).
//!
//! Each item is projected onto its bound parameters, put into canonical form (RFC 8785) and
//! digested; each digest must be a signed one. Whatever else the request has must be on the call's
//! list of what Core adds. Refuses anything unknown.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::call::{Bound as BoundParameter, Class, Collision, Items as ItemsAt, Kind, Pointer, Row, UnknownMember};
use crate::canonical;
use crate::core_token::UserRequest;
use crate::identity::{CallName, Project};
use crate::intent::{ITEMS_MAX, Intended, ItemDigest, VerifiedIntent};
use crate::json::{DEPTH_MAX, INTEGER_MAX, Json, JsonRejection};
use crate::jws::sha256;
use crate::request::UserAsked;

/// [`INTEGER_MAX`] as a double, which holds it exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// Room for the canonical form of an ordinary item, in bytes: a few paths.
const CANONICAL_USUAL: usize = 256;

/// Why a request is not what was signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BindRejection {
    /// The body is not JSON that both ends read alike.
    #[error("the body: {0}")]
    Json(JsonRejection),
    /// The body is not of the call's shape.
    #[error("the body has no items where the call has them")]
    Shape,
    /// More items than an intent can cover, or none.
    #[error("the request has no item, or more than {ITEMS_MAX}")]
    ItemCount,
    /// A member that the call does not know.
    #[error(transparent)]
    Unknown(#[from] UnknownMember),
    /// A bound parameter stands in two places.
    #[error("the bound parameter {0:?} stands in two places")]
    Ambiguous(String),
    /// A bound parameter has a value that two ends may read differently.
    #[error(
        "the bound parameter {0:?} has a whole number of more than 53 bits, two members that are one to Core, or is no set of strings"
    )]
    Value(String),
    /// The item repeats another username.
    #[error("an item names another user")]
    Username,
    /// The item shows another project than the intent.
    #[error("an item shows another project than the intent")]
    Project,
    /// An item that no signed digest covers.
    #[error("the parameters are not those that the user signed")]
    Parameters,
}

impl From<JsonRejection> for BindRejection {
    fn from(cause: JsonRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Json(cause)
    }
}

/// One item's bound parameters: where a call's authority comes from, and nothing else's.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection<'b>(Vec<(String, Json<'b>)>);

impl<'b> Projection<'b> {
    /// The bound parameter of that name; null if the request had none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &Json<'b> {
        self.0.iter().find(|(parameter, _)| parameter == name).map_or(&Json::Null, |(_, value)| value)
    }

    /// All bound parameters, with their names.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Json<'b>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The canonical form (RFC 8785).
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(CANONICAL_USUAL);
        let members = self.0.iter().map(|(name, value)| (name.as_str(), value));
        canonical::write_object(members, &mut text);
        text
    }

    /// What the user signs for this item.
    #[must_use]
    pub fn digest(&self) -> ItemDigest {
        sha256(&[&self.canonical()])
    }

    fn of(bound: &[BoundParameter], item: &Json<'b>) -> Result<Self, BindRejection> {
        bound
            .iter()
            .map(|parameter| Ok((parameter.name.clone(), value_of(parameter, item)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Serialize for Projection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn value_of<'b>(parameter: &BoundParameter, item: &Json<'b>) -> Result<Json<'b>, BindRejection> {
    let mut found = parameter.at.iter().filter_map(|pointer| pointer.find(item));
    let mut value = found.next().map_or(Json::Null, Cow::into_owned);
    if found.next().is_some() {
        return Err(BindRejection::Ambiguous(parameter.name.clone()));
    }
    for change in &parameter.changes {
        change.make(&mut value).map_err(|Collision| BindRejection::Value(parameter.name.clone()))?;
    }
    if !is_exact(&value) {
        return Err(BindRejection::Value(parameter.name.clone()));
    }
    match parameter.kind {
        Kind::Plain => Ok(value),
        Kind::Tree => Ok(without_zeros(value)),
        Kind::Set => sorted(value).ok_or_else(|| BindRejection::Value(parameter.name.clone())),
    }
}

/// Whether both ends read every number alike.
fn is_exact(value: &Json<'_>) -> bool {
    match value {
        // A fraction has one spelling (RFC 8785). Beyond 53 bits one end reads an integer, the
        // other the nearest double.
        Json::Float(number) => number.is_finite() && number.abs() <= WHOLE_MAX,
        Json::Integer(number) => (-INTEGER_MAX..=INTEGER_MAX).contains(number),
        Json::Array(elements) => elements.iter().all(is_exact),
        Json::Object(members) => members.iter().all(|(_, value)| is_exact(value)),
        Json::Null | Json::Bool(_) | Json::String(_) => true,
    }
}

/// Without the members, at every depth, that Go writes for "absent"; null if nothing is left. An
/// array keeps its elements, whatever they are: none of them can be absent.
fn without_zeros(value: Json<'_>) -> Json<'_> {
    let pruned = without_zero_members(value);
    if pruned.is_zero() { Json::Null } else { pruned }
}

fn without_zero_members(value: Json<'_>) -> Json<'_> {
    match value {
        Json::Object(members) => {
            let kept = members.into_iter().map(|(name, value)| (name, without_zero_members(value)));
            Json::Object(kept.filter(|(_, value)| !value.is_zero()).collect())
        }
        Json::Array(elements) => Json::Array(elements.into_iter().map(without_zero_members).collect()),
        other @ (Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_)) => other,
    }
}

/// A set of strings in one order: by code unit of UTF-16, as JavaScript sorts. Null is the empty
/// set.
fn sorted(value: Json<'_>) -> Option<Json<'_>> {
    let mut elements = match value {
        Json::Array(elements) => elements,
        Json::Null => Vec::new(),
        Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::String(_) | Json::Object(_) => return None,
    };
    if elements.iter().any(|element| element.as_str().is_none()) {
        return None;
    }
    elements.sort_by(|a, b| {
        let units = |element: &Json<'_>| element.as_str().unwrap_or_default().encode_utf16().collect::<Vec<_>>();
        units(a).cmp(&units(b))
    });
    Some(Json::Array(elements))
}

/// The project that the items of a request show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ShownProject {
    /// No item shows one.
    Nothing,
    /// Every item that shows one shows that there is none.
    NoProject,
    /// Every item that shows one shows this one.
    Project(String),
    /// The items differ, or a value is neither null nor a string: no intent has that project.
    Unfit,
}

impl ShownProject {
    fn of(row: &Row, items: &[Json<'_>]) -> Self {
        let shown = items.iter().filter_map(|item| row.project().and_then(|pointer| pointer.find(item)));
        let mut shown = shown.map(|value| match &*value {
            Json::Null => Self::NoProject,
            Json::String(project) => Self::Project(project.to_string()),
            Json::Bool(_) | Json::Integer(_) | Json::Float(_) | Json::Array(_) | Json::Object(_) => Self::Unfit,
        });
        let first = shown.next().unwrap_or(Self::Nothing);
        if shown.all(|other| other == first) { first } else { Self::Unfit }
    }

    /// Whether an intent for that project may cover the items. Null is no project; the empty string
    /// is nobody's.
    fn is(&self, signed: Option<&Project>) -> bool {
        match self {
            Self::Nothing => true,
            Self::NoProject => signed.is_none(),
            Self::Project(shown) => signed.is_some_and(|signed| signed.as_str() == shown),
            Self::Unfit => false,
        }
    }
}

/// A request's body, taken apart by its call's row: every item projected and digested, nothing
/// unknown in it.
#[derive(Clone, Debug)]
pub struct Items<'b> {
    bytes: &'b [u8],
    body: Json<'b>,
    projections: Vec<Projection<'b>>,
    digests: Vec<ItemDigest>,
    classes: Vec<Class>,
    is_raised: bool,
    project: ShownProject,
}

impl<'b> Items<'b> {
    /// Takes a body apart. An empty one is `{}`: a `GET` has none.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn read(row: &Row, bytes: &'b [u8]) -> Result<Self, BindRejection> {
        let body = if bytes.is_empty() { Json::Object(Vec::new()) } else { Json::parse(bytes, DEPTH_MAX)? };
        let mut projections = Vec::new();
        let items = items_of(row.items(), &body)?;
        for item in items {
            row.allowed().check(item)?;
            projections.push(Projection::of(row.bound(), item)?);
        }
        if projections.is_empty() || projections.len() > ITEMS_MAX {
            return Err(BindRejection::ItemCount);
        }
        let digests = projections.iter().map(Projection::digest).collect();
        let raised =
            |item: &Projection<'_>| row.ask_if().iter().any(|rule| rule.when.holds(item.parameter(&rule.parameter)));
        let class = |item| if raised(item) { Class::Danger } else { row.least_class() };
        let classes: Vec<Class> = projections.iter().map(class).collect();
        let is_raised = classes.iter().any(|class| *class > row.least_class());
        let project = ShownProject::of(row, items);
        Ok(Self { bytes, body, projections, digests, classes, is_raised, project })
    }

    /// What the item of that number can do; of an item that is not there, the worst is assumed.
    #[must_use]
    pub fn class_of(&self, item: usize) -> Class {
        self.classes.get(item).copied().unwrap_or(Class::Danger)
    }

    /// What the most dangerous item can do.
    #[must_use]
    pub fn class(&self) -> Class {
        self.classes.iter().copied().max().unwrap_or(Class::Danger)
    }

    /// Whether a rule of the row has raised an item above what the call can do at least.
    #[must_use]
    pub const fn is_raised(&self) -> bool {
        self.is_raised
    }

    /// What the user has to have signed.
    #[must_use]
    pub fn digests(&self) -> &[ItemDigest] {
        &self.digests
    }

    /// The project that the items show.
    #[must_use]
    pub const fn project(&self) -> &ShownProject {
        &self.project
    }

    /// The items' bound parameters.
    #[must_use]
    pub fn projections(&self) -> &[Projection<'b>] {
        &self.projections
    }

    /// The body as it came.
    #[must_use]
    pub const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The body as it was read. What is not bound has no authority: it may say how an answer is
    /// shown, never what is done.
    #[must_use]
    pub const fn body(&self) -> &Json<'b> {
        &self.body
    }
}

fn items_of<'v, 'b>(at: ItemsAt, body: &'v Json<'b>) -> Result<&'v [Json<'b>], BindRejection> {
    match (at, body) {
        (ItemsAt::Whole, Json::Object(_)) => Ok(std::slice::from_ref(body)),
        (ItemsAt::Bulk, Json::Object(members)) => match members.as_slice() {
            [(name, Json::Array(items))] if name == "items" => Ok(items),
            _ => Err(BindRejection::Shape),
        },
        _ => Err(BindRejection::Shape),
    }
}

impl<'h, R: UserAsked> Intended<'h, R> {
    /// Shows that what was signed is what came.
    ///
    /// # Errors
    /// How they differ.
    pub fn bind<'b>(self, items: Items<'b>) -> Result<Bound<'h, 'b, R>, BindRejection> {
        let row = self.request.row();
        for item in items_of(row.items(), &items.body)? {
            let shown = |pointer: Option<&Pointer>| pointer.and_then(|pointer| pointer.find(item));
            if shown(row.username()).is_some_and(|shown| shown.as_str() != Some(self.request.username().as_str())) {
                return Err(BindRejection::Username);
            }
        }
        if !items.project.is(self.intent.project.as_ref()) {
            return Err(BindRejection::Project);
        }
        if !self.intent.covers(&items.digests) {
            return Err(BindRejection::Parameters);
        }
        Ok(Bound { intended: self, items })
    }
}

impl VerifiedIntent<'_> {
    /// Whether [`Intended::bind`] would take it for a request of that call with these items and
    /// that project.
    #[must_use]
    pub fn fits(&self, call: &CallName, items: &[ItemDigest], project: &ShownProject) -> bool {
        self.call == *call && project.is(self.project.as_ref()) && self.covers(items)
    }
}

/// A request whose parameters its user signed. Made by [`Intended::bind`] alone.
#[derive(Debug)]
pub struct Bound<'h, 'b, R = UserRequest<'h>> {
    pub(crate) intended: Intended<'h, R>,
    pub(crate) items: Items<'b>,
}
