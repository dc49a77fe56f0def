//! Binds a request's parameters to the signed intent (protocol, section 3).
//!
//! Projects each item onto its bound parameters, writes the projection in canonical form (RFC 8785)
//! and digests it. The intent must have signed every digest. Every other member of the request must
//! be one that the call's row allows Core to add; refuses any other member (P1).

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::call::names::SCRIPT;
use crate::call::{Bound as BoundParameter, Class, Collision, Items as ItemsAt, Kind, Pointer, Row, UnknownMember};
use crate::canonical;
use crate::core_token::UserRequest;
use crate::identity::Project;
use crate::intent::{ITEMS_MAX, Intended, ItemDigest, ScriptDigest, VerifiedIntent};
use crate::json::{DEPTH_MAX, INTEGER_MAX, Json, JsonRejection};
use crate::jws::sha256;
use crate::request::UserRequestKind;

/// [`INTEGER_MAX`] as a double, which holds it exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// Usual size of an item's canonical form, in bytes: a few paths.
const CANONICAL_USUAL: usize = 256;

/// Why the request does not match the intent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BindRejection {
    /// The body is not JSON that both ends read the same way.
    #[error("the body: {0}")]
    Json(JsonRejection),
    /// The body does not have the call's shape.
    #[error("the body has no items where the call has them")]
    Shape,
    /// More than [`ITEMS_MAX`] items, or none.
    #[error("the request has no item, or more than {ITEMS_MAX}")]
    ItemCount,
    /// A member that the call does not know.
    #[error(transparent)]
    Unknown(#[from] UnknownMember),
    /// Two places of the request hold the same bound parameter.
    #[error("the bound parameter {0:?} stands in two places")]
    Ambiguous(String),
    /// A bound parameter has a value that the two ends may read differently.
    #[error(
        "the bound parameter {0:?} has a whole number of more than 53 bits, two members that are one to Core, or is not a set of strings"
    )]
    Value(String),
    /// An item names another user.
    #[error("an item names another user")]
    Username,
    /// An item names another project than the intent.
    #[error("an item shows another project than the intent")]
    Project,
    /// An item without a signed digest.
    #[error("the parameters are not those that the user signed")]
    Parameters,
}

impl From<JsonRejection> for BindRejection {
    fn from(cause: JsonRejection) -> Self {
        // Not a source: the text of the cause is part of this text.
        Self::Json(cause)
    }
}

/// The bound parameters of one item, and nothing else of it. Authority comes only from these.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection<'b>(Vec<(String, Json<'b>)>);

impl<'b> Projection<'b> {
    /// The bound parameter of that name; null if the request does not have it.
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

    /// SHA-256 of the canonical form: the value that the user signs for this item.
    #[must_use]
    pub fn digest(&self) -> ItemDigest {
        sha256(&[&self.canonical()])
    }

    /// Adds the script's digest, which only the intent carries.
    fn add_script(&mut self, row: &Row, script: &ScriptDigest) -> Result<(), BindRejection> {
        if !row.bound().iter().any(|bound| bound.name == SCRIPT && bound.is_optional) {
            return Err(BindRejection::Parameters);
        }
        if self.0.iter().any(|(name, _)| name == SCRIPT) {
            return Err(BindRejection::Ambiguous(SCRIPT.to_owned()));
        }
        self.0.push((SCRIPT.to_owned(), Json::String(Cow::Owned(script.as_str().to_owned()))));
        Ok(())
    }

    fn of(bound: &[BoundParameter], item: &Json<'b>) -> Result<Self, BindRejection> {
        bound
            .iter()
            .map(|parameter| Ok((parameter, value_of(parameter, item)?)))
            .filter(|read| !matches!(read, Ok((parameter, Json::Null)) if parameter.is_optional))
            .map(|read| read.map(|(parameter, value)| (parameter.name.clone(), value)))
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

/// Whether both ends read every number in the value the same way.
fn is_exact(value: &Json<'_>) -> bool {
    match value {
        // RFC 8785 gives each fraction one spelling. Beyond 53 bits one end reads an integer and
        // the other the nearest double.
        Json::Float(number) => number.is_finite() && number.abs() <= WHOLE_MAX,
        Json::Integer(number) => (-INTEGER_MAX..=INTEGER_MAX).contains(number),
        Json::Array(elements) => elements.iter().all(is_exact),
        Json::Object(members) => members.iter().all(|(_, value)| is_exact(value)),
        Json::Null | Json::Bool(_) | Json::String(_) => true,
    }
}

/// Removes, at every depth, the members that Go writes for an absent field. Returns null if nothing
/// is left. An array keeps all its elements, because no element can be absent.
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

/// Sorts a set of strings by UTF-16 code unit, as JavaScript does. Null is the empty set; `None` if
/// the value is not a set of strings.
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

/// The project that a request's items name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ShownProject {
    /// No item names a project.
    Nothing,
    /// At least one item has null as its project, and no item names another.
    NoProject,
    /// Every item that names a project names this one.
    Project(String),
    /// The items differ, or a value is neither null nor a string. No intent matches.
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

    /// Whether an intent for that project may cover the items. Null means no project; the empty
    /// string matches no intent.
    fn is(&self, signed: Option<&Project>) -> bool {
        match self {
            Self::Nothing => true,
            Self::NoProject => signed.is_none(),
            Self::Project(shown) => signed.is_some_and(|signed| signed.as_str() == shown),
            Self::Unfit => false,
        }
    }
}

/// A request's body, checked against its call's row: every item projected and digested, and no
/// unknown member in any.
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
    /// Reads a body. An empty body counts as `{}`, because a `GET` has none.
    ///
    /// # Errors
    /// The rule that the body breaks.
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

    /// The items with the parameter that the intent carries for them, if it carries one.
    fn with_script(mut self, row: &Row, script: Option<&ScriptDigest>) -> Result<Self, BindRejection> {
        let Some(script) = script else { return Ok(self) };
        for projection in &mut self.projections {
            projection.add_script(row, script)?;
        }
        self.digests = self.projections.iter().map(Projection::digest).collect();
        Ok(self)
    }

    /// The class of the item with that index; [`Class::Danger`] if there is no such item.
    #[must_use]
    pub fn class_of(&self, item: usize) -> Class {
        self.classes.get(item).copied().unwrap_or(Class::Danger)
    }

    /// The class of the most dangerous item.
    #[must_use]
    pub fn class(&self) -> Class {
        self.classes.iter().copied().max().unwrap_or(Class::Danger)
    }

    /// Whether a rule of the row raised an item above the row's least class.
    #[must_use]
    pub const fn is_raised(&self) -> bool {
        self.is_raised
    }

    /// The digests that the user must have signed, one for each item.
    #[must_use]
    pub fn digests(&self) -> &[ItemDigest] {
        &self.digests
    }

    /// The project that the items name.
    #[must_use]
    pub const fn project(&self) -> &ShownProject {
        &self.project
    }

    /// The items' bound parameters.
    #[must_use]
    pub fn projections(&self) -> &[Projection<'b>] {
        &self.projections
    }

    /// The body as received.
    #[must_use]
    pub const fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// The parsed body. Members that are not bound have no authority: they may choose how a
    /// response is shown, never what is done.
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

impl<'h, R: UserRequestKind> Intended<'h, R> {
    /// Checks that the intent covers the items, their project and their user.
    ///
    /// # Errors
    /// The first difference found.
    pub fn bind<'b>(self, items: Items<'b>) -> Result<Bound<'h, 'b, R>, BindRejection> {
        let row = self.request.row();
        let items = items.with_script(row, self.intent.script())?;
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
    /// The digest of the script that the user saw, if the intent carries one.
    #[must_use]
    pub const fn script(&self) -> Option<&ScriptDigest> {
        self.script.as_ref()
    }

    /// Whether [`Intended::bind`] would accept this intent for a request of that call with these
    /// items.
    #[must_use]
    pub fn fits(&self, row: &Row, items: &Items<'_>) -> bool {
        if self.call != *row.call() || !items.project.is(self.project.as_ref()) {
            return false;
        }
        match self.script() {
            None => self.covers(&items.digests),
            script @ Some(_) => items.clone().with_script(row, script).is_ok_and(|items| self.covers(&items.digests)),
        }
    }
}

/// A request whose parameters its user signed. Only [`Intended::bind`] makes one.
#[derive(Debug)]
pub struct Bound<'h, 'b, R = UserRequest<'h>> {
    pub(crate) intended: Intended<'h, R>,
    pub(crate) items: Items<'b>,
}
