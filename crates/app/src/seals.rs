//! Rows that only Weirgate can have written.
//!
//! Each row of the store has a seal: a MAC over its kind, its id and all of its values, under a key
//! that hangs on the root key. The newest head authenticates the set of all seals, and every head of
//! the past stays in the store, each under a MAC of its own. So without the root key
//! - a row that is changed, added or removed is found and named,
//! - a row that is put back together with its seal is found, because the set is another,
//! - a store that is put back whole is found, because a log remembers a head that it does not have.
//!
//! A row that does not fit its seal is left out of the Snapshot: nothing that it would permit is
//! permitted, and what does not hang on it goes on. Where the set itself is not the one that was
//! recorded, no row can be trusted and nothing is loaded.

mod connect;
mod kept;
mod lifetimes;
mod secret_stores;

use crate::{error::Error, instance::Instance};
use audit::VaultHead;
use aws_lc_rs::digest;
use kept::{proposal_content, review_content, view_content};
use std::{collections::BTreeMap, fmt};
use store::{
    ClientRow, ConnectionRow, CustomerRow, Everything, FactorRow, GrantRow, GrantTarget,
    IdentityProviderRow, IdentityRow, KeyRow, LinkRow, People, ProviderFacts, ProviderRow, RuleRow,
    SealedRow, SessionRow, StateHead, TokenRow, UserRow, VaultGenerationRow,
};
use types::{Id, Provider, Slug, Timestamp};
use vault::KeyPepper;

/// A row's kind and id.
pub(crate) type Place = (String, String);
/// Seals by the rows that they belong to.
pub(crate) type Seals = BTreeMap<Place, [u8; 32]>;

// The tables whose rows have seals. Not among them: `generation`, which only says that something
// changed; `audit_checkpoint`, `audit_witness` and `outbox_moved`, which are written aside of changes:
// rows of the first two hold notes that keys of logs and witnesses signed, those of the last have seals
// of their own, and all are judged as such, as those of `user_session` have; `node_seen`, which decides
// nothing; and `sign_in_failure`, which decides only to refuse more.
const INSTANCE: &str = "instance";
pub(crate) const GENERATION: &str = "vault_generation";
const CUSTOMER: &str = "customer";
const SEALED: &str = "sealed";
pub(crate) const PROVIDER: &str = "provider";
/// A provider's description and overlay have a seal of their own: they may be long, and a change of
/// something else does not read them.
pub(crate) const DESCRIPTION: &str = "description";
const CONNECTION: &str = "connection";
const CLIENT: &str = "client";
const KEY: &str = "api_key";
const GRANT: &str = "access_grant";
const USER: &str = "user_account";
const FACTOR: &str = "user_factor";
const LINK: &str = "one_time_link";
const TOKEN: &str = "personal_token";
const IDENTITY_PROVIDER: &str = "identity_provider";
const IDENTITY: &str = "user_identity";
const PROPOSAL: &str = "proposal";
const REVIEW: &str = "review";
const VIEW: &str = "saved_view";
const CONNECT_SESSION: &str = "connect_session";
const CONSENT: &str = "consent";
const ROLE: &str = "role";
const POLICY: &str = "policy";
const LIFETIME: &str = "lifetime";
const OWNER: &str = "client_owner";
const SECRET_STORE: &str = "secret_store";
const SECRET_SOURCE: &str = "secret_source";
const LIFETIME_STATE: &str = "lifetime_state";
/// A session's own seal, which is none of the set.
const SESSION: &str = "user_session";
pub(crate) const OUTBOX: &str = "outbox";
/// What became of an event.
const MOVED: &str = "outbox_moved";
/// No tables: authenticate a head, of a release that kept no account of events, and of one that does.
const HEAD: &str = "head";
const ACCOUNTED_HEAD: &str = "accounted head";

/// What happened to a row behind our back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    Changed,
    Added,
    Removed,
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
        })
    }
}

/// A row that does not fit its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub place: Place,
    pub how: Tampering,
}

impl From<&Broken> for Error {
    fn from(broken: &Broken) -> Self {
        let (kind, id) = &broken.place;
        // The table and column of an added row are whatever somebody wrote there.
        let id = id.chars().filter(|c| !c.is_control()).take(120).collect();
        Self::RowTampered { kind: kind.clone(), id, how: broken.how }
    }
}

/// A row's values in one spelling: each behind a tag and its length.
struct Content(Vec<u8>);

impl Content {
    fn new() -> Self {
        Self(Vec::with_capacity(256))
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.push(1);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }
    fn optional(mut self, bytes: Option<&[u8]>) -> Self {
        if let Some(bytes) = bytes {
            return self.bytes(bytes);
        }
        self.0.push(0);
        self
    }
    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }
    fn time(self, time: Timestamp) -> Self {
        self.bytes(&time.as_micros().to_be_bytes())
    }
    fn optional_time(self, time: Option<Timestamp>) -> Self {
        let bytes = time.map(|time| time.as_micros().to_be_bytes());
        self.optional(bytes.as_ref().map(<[u8; 8]>::as_slice))
    }
    fn texts<'a>(self, texts: impl ExactSizeIterator<Item = &'a String>) -> Self {
        let count = texts.len() as u64;
        texts.fold(self.number(count), |content, text| content.text(text))
    }
    fn map(self, map: &BTreeMap<String, String>) -> Self {
        self.texts(map.keys()).texts(map.values())
    }
}

/// A provider as it was read: with its description, or without.
pub(crate) trait ReadProvider {
    const HAS_DESCRIPTION: bool;
    fn id(&self) -> Id<Provider>;
    fn slug(&self) -> &Slug;
    fn content(&self) -> Vec<u8>;
    /// What the description's own seal is over.
    fn description(&self) -> Option<Vec<u8>>;
}

// Here and below every column is named: one that is added must be sealed too.
impl ReadProvider for ProviderRow {
    const HAS_DESCRIPTION: bool = true;
    fn id(&self) -> Id<Provider> {
        self.id
    }
    fn slug(&self) -> &Slug {
        &self.slug
    }
    fn content(&self) -> Vec<u8> {
        let Self { id: _, slug, description: _, overlay: _, server, allow_private, imported_at } =
            self;
        provider_content(slug.as_str(), server.as_deref(), allow_private, *imported_at)
    }
    fn description(&self) -> Option<Vec<u8>> {
        let overlay = self.overlay.as_deref().map(sha256);
        let overlay = overlay.as_ref().map(<[u8; 32]>::as_slice);
        Some(Content::new().bytes(&sha256(&self.description)).optional(overlay).0)
    }
}

impl ReadProvider for ProviderFacts {
    const HAS_DESCRIPTION: bool = false;
    fn id(&self) -> Id<Provider> {
        self.id
    }
    fn slug(&self) -> &Slug {
        &self.slug
    }
    fn content(&self) -> Vec<u8> {
        let Self { id: _, slug, server, allow_private, imported_at } = self;
        provider_content(slug.as_str(), server.as_deref(), allow_private, *imported_at)
    }
    fn description(&self) -> Option<Vec<u8>> {
        None
    }
}

fn provider_content(
    slug: &str,
    server: Option<&str>,
    allow_private: &[String],
    imported_at: Timestamp,
) -> Vec<u8> {
    Content::new()
        .text(slug)
        .optional(server.map(str::as_bytes))
        .texts(allow_private.iter())
        .time(imported_at)
        .0
}

fn customer_content(row: &CustomerRow) -> Vec<u8> {
    let CustomerRow { id: _, lookup, generation, wrapped_key, commitment, created_at } = row;
    Content::new()
        .bytes(lookup)
        .number(u64::from(*generation))
        .bytes(wrapped_key)
        .bytes(commitment)
        .time(*created_at)
        .0
}

fn sealed_content(row: &SealedRow) -> Vec<u8> {
    let SealedRow { table: _, record: _, column: _, customer, version, generation, sealed } = row;
    Content::new()
        .bytes(&customer.to_bytes())
        .number(*version)
        .number(u64::from(*generation))
        .bytes(sealed)
        .0
}

/// The three parts are told apart: a table's and a column's name hold no slash of ours.
fn sealed_id(row: &SealedRow) -> String {
    let SealedRow { table, record, column, .. } = row;
    format!("{table}/{:032x}/{column}", u128::from_be_bytes(*record))
}

fn connection_content(row: &ConnectionRow) -> Vec<u8> {
    let ConnectionRow {
        id: _,
        provider,
        customer,
        environment,
        scheme,
        variables,
        headers,
        created_at,
        revoked_at,
    } = row;
    Content::new()
        .bytes(&provider.to_bytes())
        .bytes(&customer.to_bytes())
        .text(environment.as_str())
        .text(scheme)
        .map(variables)
        .map(headers)
        .time(*created_at)
        .optional_time(*revoked_at)
        .0
}

fn client_content(row: &ClientRow) -> Vec<u8> {
    let ClientRow { id: _, name, created_at } = row;
    Content::new().text(name.as_str()).time(*created_at).0
}

fn key_content(row: &KeyRow) -> Vec<u8> {
    let KeyRow { id: _, client, environment, digest, created_at, expires_at, revoked_at } = row;
    Content::new()
        .bytes(&client.to_bytes())
        .text(environment.as_str())
        .bytes(digest)
        .time(*created_at)
        .time(*expires_at)
        .optional_time(*revoked_at)
        .0
}

fn grant_content(row: &GrantRow) -> Vec<u8> {
    let GrantRow { id: _, client, target, purpose, body, created_at } = row;
    let (kind, target) = match target {
        GrantTarget::Provider(id) => (PROVIDER, id.to_bytes()),
        GrantTarget::Connection(id) => (CONNECTION, id.to_bytes()),
    };
    Content::new()
        .bytes(&client.to_bytes())
        .text(kind)
        .bytes(&target)
        .text(purpose)
        .text(body)
        .time(*created_at)
        .0
}

fn user_content(row: &UserRow) -> Vec<u8> {
    let UserRow { id: _, customer, lookup, state, roles, created_at, valid_from } = row;
    Content::new()
        .bytes(&customer.to_bytes())
        .bytes(lookup)
        .text(state.as_str())
        .texts(roles.iter())
        .time(*created_at)
        .time(*valid_from)
        .0
}

fn factor_content(row: &FactorRow) -> Vec<u8> {
    let FactorRow { id: _, user, kind, name, body, created_at, used } = row;
    let used = used.map(i64::to_be_bytes);
    Content::new()
        .bytes(&user.to_bytes())
        .text(kind.as_str())
        .text(name)
        .text(body)
        .time(*created_at)
        .optional(used.as_ref().map(<[u8; 8]>::as_slice))
        .0
}

fn link_content(row: &LinkRow) -> Vec<u8> {
    let LinkRow { id: _, digest, purpose, user, created_at, expires_at, used_at } = row;
    Content::new()
        .bytes(digest)
        .text(purpose.as_str())
        .bytes(&user.to_bytes())
        .time(*created_at)
        .time(*expires_at)
        .optional_time(*used_at)
        .0
}

fn token_content(row: &TokenRow) -> Vec<u8> {
    let TokenRow { id: _, digest, user, name, roles, created_at, expires_at, revoked_at } = row;
    Content::new()
        .bytes(digest)
        .bytes(&user.to_bytes())
        .text(name)
        .texts(roles.iter())
        .time(*created_at)
        .time(*expires_at)
        .optional_time(*revoked_at)
        .0
}

fn identity_provider_content(row: &IdentityProviderRow) -> Vec<u8> {
    let IdentityProviderRow { id: _, name, customer, body, created_at } = row;
    Content::new().text(name.as_str()).bytes(&customer.to_bytes()).text(body).time(*created_at).0
}

fn identity_content(row: &IdentityRow) -> Vec<u8> {
    let IdentityRow { id: _, user, provider, subject, is_managed, created_at } = row;
    Content::new()
        .bytes(&user.to_bytes())
        .optional(provider.map(Id::to_bytes).as_ref().map(<[u8; 16]>::as_slice))
        .bytes(subject)
        .number(u64::from(*is_managed))
        .time(*created_at)
        .0
}

fn rule_content(row: &RuleRow) -> Vec<u8> {
    let RuleRow { name: _, body, created_at } = row;
    Content::new().text(body).time(*created_at).0
}

/// The seal of a session.
pub(crate) fn of_session(pepper: &KeyPepper, row: &SessionRow) -> [u8; 32] {
    let SessionRow {
        id,
        digest,
        user,
        level,
        created_at,
        seen_at,
        expires_at,
        stepped_up_at,
        seal: _,
    } = row;
    let content = Content::new()
        .bytes(digest)
        .bytes(&user.to_bytes())
        .text(level.as_str())
        .time(*created_at)
        .time(*seen_at)
        .time(*expires_at)
        .optional_time(*stepped_up_at)
        .0;
    pepper.row_seal(SESSION, &id.to_string(), &content)
}

/// The seals that these rows would have.
pub(crate) fn of<P: ReadProvider>(pepper: &KeyPepper, rows: &Everything<P>) -> Seals {
    let mut seals = Seals::new();
    let mut put = |kind: &str, id: String, content: &[u8]| {
        let seal = pepper.row_seal(kind, &id, content);
        seals.insert((kind.to_owned(), id), seal);
    };
    put(INSTANCE, rows.instance.to_string(), &[]);
    for VaultGenerationRow { number, wrapped_key } in &rows.vault_generations {
        put(GENERATION, number.to_string(), wrapped_key);
    }
    for row in &rows.customers {
        put(CUSTOMER, row.id.to_string(), &customer_content(row));
    }
    for row in &rows.sealed {
        put(SEALED, sealed_id(row), &sealed_content(row));
    }
    for row in &rows.providers {
        put(PROVIDER, row.id().to_string(), &row.content());
        if let Some(description) = row.description() {
            put(DESCRIPTION, row.id().to_string(), &description);
        }
    }
    for row in &rows.connections {
        put(CONNECTION, row.id.to_string(), &connection_content(row));
    }
    for row in &rows.clients {
        put(CLIENT, row.id.to_string(), &client_content(row));
    }
    for row in &rows.keys {
        put(KEY, row.id.to_string(), &key_content(row));
    }
    for row in &rows.grants {
        put(GRANT, row.id.to_string(), &grant_content(row));
    }
    let People {
        users,
        factors,
        links,
        tokens,
        providers,
        identities,
        proposals,
        reviews,
        views,
        roles,
        policies,
    } = &rows.people;
    for row in users {
        put(USER, row.id.to_string(), &user_content(row));
    }
    for row in factors {
        put(FACTOR, row.id.to_string(), &factor_content(row));
    }
    for row in links {
        put(LINK, row.id.to_string(), &link_content(row));
    }
    for row in tokens {
        put(TOKEN, row.id.to_string(), &token_content(row));
    }
    for row in providers {
        put(IDENTITY_PROVIDER, row.id.to_string(), &identity_provider_content(row));
    }
    for row in identities {
        put(IDENTITY, row.id.to_string(), &identity_content(row));
    }
    for row in proposals {
        put(PROPOSAL, row.id.to_string(), &proposal_content(row));
    }
    for row in reviews {
        put(REVIEW, row.id.to_string(), &review_content(row));
    }
    for row in views {
        put(VIEW, row.id.to_string(), &view_content(row));
    }
    connect::put_all(&rows.connects, &mut put);
    lifetimes::put_all(&rows.lifetimes, &mut put);
    secret_stores::put_all(&rows.secret_stores, &mut put);
    for row in roles {
        put(ROLE, row.name.to_string(), &rule_content(row));
    }
    for row in policies {
        put(POLICY, row.name.to_string(), &rule_content(row));
    }
    seals
}

/// The seals of one provider's row and of its description.
pub(crate) fn of_provider(pepper: &KeyPepper, row: &ProviderRow) -> Seals {
    let id = row.id.to_string();
    let mut seals = Seals::new();
    for (kind, content) in
        [(PROVIDER, row.content()), (DESCRIPTION, row.description().unwrap_or_default())]
    {
        seals.insert((kind.to_owned(), id.clone()), pepper.row_seal(kind, &id, &content));
    }
    seals
}

/// The seals of a customer's row and of values of it.
pub(crate) fn of_customer(
    pepper: &KeyPepper,
    customer: &CustomerRow,
    values: &[SealedRow],
) -> Seals {
    let of = |kind: &str, id: String, content: &[u8]| {
        let seal = pepper.row_seal(kind, &id, content);
        ((kind.to_owned(), id), seal)
    };
    let row = of(CUSTOMER, customer.id.to_string(), &customer_content(customer));
    let values = values.iter().map(|row| of(SEALED, sealed_id(row), &sealed_content(row)));
    values.chain([row]).collect()
}

/// The seal of an event that waits for the log.
pub(crate) fn of_event(
    pepper: &KeyPepper,
    sequence: u64,
    event: &[u8; 16],
    record: &[u8],
) -> [u8; 32] {
    pepper.row_seal(OUTBOX, &sequence.to_string(), &Content::new().bytes(event).bytes(record).0)
}

/// The seal of what became of an event: this log has it; without one, logs have all up to it.
pub(crate) fn of_moved(pepper: &KeyPepper, sequence: u64, log: Option<&str>) -> [u8; 32] {
    let content = Content::new().optional(log.map(str::as_bytes)).0;
    pepper.row_seal(MOVED, &sequence.to_string(), &content)
}

/// The head over these seals.
pub(crate) fn head_of(seals: &Seals, sequence: u64) -> VaultHead {
    let seals = seals.iter().map(|((kind, id), seal)| (kind.as_str(), id.as_str(), seal));
    let head = vault::seals_head(seals);
    VaultHead { count: head.count, root: head.root, sequence }
}

/// A head as the store keeps it.
pub(crate) fn stored_head(pepper: &KeyPepper, head: VaultHead, event: [u8; 16]) -> StateHead {
    let VaultHead { count, root, sequence } = head;
    let content = Content::new().bytes(&event).number(count).bytes(&root).0;
    let seal = pepper.row_seal(ACCOUNTED_HEAD, &sequence.to_string(), &content);
    StateHead { sequence, event, count, root, seal }
}

/// A head that Weirgate wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub head: VaultHead,
    /// Whether account was kept of events by then.
    pub is_accounted: bool,
}

/// A head that was read.
///
/// # Errors
/// [`Error::SealsTampered`] unless Weirgate wrote it.
pub(crate) fn opened_head(pepper: &KeyPepper, stored: &StateHead) -> Result<Head, Error> {
    let StateHead { sequence, event, count, root, seal } = *stored;
    let head = VaultHead { count, root, sequence };
    let content = Content::new().bytes(&event).number(count).bytes(&root).0;
    let is_sealed =
        |kind| vault::digests_match(&pepper.row_seal(kind, &sequence.to_string(), &content), &seal);
    match [ACCOUNTED_HEAD, HEAD].map(is_sealed) {
        [false, false] => Err(Error::SealsTampered),
        [is_accounted, _] => Ok(Head { head, is_accounted }),
    }
}

/// What rows are worth.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// As the rows are.
    pub actual: Seals,
    /// As they were last sealed.
    pub stored: Seals,
    pub head: VaultHead,
    /// Whether account was kept of events by then.
    pub is_accounted: bool,
    pub broken: Vec<Broken>,
}

impl Judgement {
    /// # Errors
    /// [`Error::RowTampered`] if any row does not fit its seal.
    pub(crate) fn whole(&self) -> Result<(), Error> {
        self.broken.first().map_or(Ok(()), |broken| Err(broken.into()))
    }
}

/// Compares rows with their seals, and the set of seals with the newest head.
///
/// # Errors
/// [`Error::SealsTampered`] if the set is not the one that was recorded, or the installation's own
/// rows are not: then nothing is to be trusted.
pub(crate) fn judge<P: ReadProvider>(
    pepper: &KeyPepper,
    rows: &Everything<P>,
) -> Result<Judgement, Error> {
    let newest = rows.head.as_ref().ok_or(Error::SealsTampered)?;
    let Head { head, is_accounted } = opened_head(pepper, newest)?;
    let stored: Seals =
        rows.seals.iter().map(|row| ((row.kind.clone(), row.id.clone()), row.seal)).collect();
    if head_of(&stored, head.sequence) != head {
        return Err(Error::SealsTampered);
    }
    let actual = of(pepper, rows);
    let mut broken = Vec::new();
    for (place, seal) in &actual {
        let how = match stored.get(place) {
            Some(wanted) if wanted == seal => continue,
            Some(_) => Tampering::Changed,
            None => Tampering::Added,
        };
        broken.push(Broken { place: place.clone(), how });
    }
    for place in stored.keys() {
        let is_unread = place.0 == DESCRIPTION && !P::HAS_DESCRIPTION;
        if !is_unread && !actual.contains_key(place) {
            broken.push(Broken { place: place.clone(), how: Tampering::Removed });
        }
    }
    Ok(Judgement { actual, stored, head, is_accounted, broken })
}

/// Leaves out what does not fit its seal.
pub(crate) fn trusted<P: ReadProvider>(
    mut rows: Everything<P>,
    broken: &[Broken],
) -> Everything<P> {
    if broken.is_empty() {
        return rows;
    }
    let is_whole =
        |kind: &str, id: &str| !broken.iter().any(|one| one.place.0 == kind && one.place.1 == id);
    rows.vault_generations.retain(|row| is_whole(GENERATION, &row.number.to_string()));
    rows.customers.retain(|row| is_whole(CUSTOMER, &row.id.to_string()));
    rows.sealed.retain(|row| is_whole(SEALED, &sealed_id(row)));
    rows.providers.retain(|row| {
        let id = row.id().to_string();
        is_whole(PROVIDER, &id) && is_whole(DESCRIPTION, &id)
    });
    rows.connections.retain(|row| is_whole(CONNECTION, &row.id.to_string()));
    rows.clients.retain(|row| is_whole(CLIENT, &row.id.to_string()));
    rows.keys.retain(|row| is_whole(KEY, &row.id.to_string()));
    rows.grants.retain(|row| is_whole(GRANT, &row.id.to_string()));
    connect::retain(&mut rows.connects, is_whole);
    // A factor or a policy that is missing would permit more: where anything of people is not as it
    // was left, nobody comes in.
    let of_people =
        [USER, FACTOR, LINK, TOKEN, IDENTITY_PROVIDER, IDENTITY, PROPOSAL, ROLE, POLICY];
    // And without a policy, calls would pass that it forbids.
    if broken.iter().any(|one| one.place.0 == POLICY) {
        rows.grants.clear();
    }
    // Without a rule, or who answers for a client, keys and credentials would live on that end.
    if broken.iter().any(|one| matches!(one.place.0.as_str(), LIFETIME | OWNER)) {
        rows.keys.clear();
        rows.connections.clear();
    }
    // A copy whose store, age or end is not known is used for nothing.
    let sources = &rows.secret_stores.sources;
    let is_of_whole_store = |id: Id<types::Connection>| {
        let source = sources.iter().find(|source| source.connection == id);
        source.is_none_or(|source| is_whole(SECRET_STORE, source.store.as_str()))
    };
    rows.connections
        .retain(|row| is_whole(SECRET_SOURCE, &row.id.to_string()) && is_of_whole_store(row.id));
    let is_left = |id: &str| is_whole(LIFETIME_STATE, id);
    rows.keys.retain(|row| is_left(&row.id.to_string()));
    rows.connections.retain(|row| is_left(&row.id.to_string()));
    // A review lets nobody in, and neither does a filter.
    if broken.iter().any(|one| one.place.0 == REVIEW) {
        rows.people.reviews.clear();
    }
    if broken.iter().any(|one| one.place.0 == VIEW) {
        rows.people.views.clear();
    }
    if broken.iter().any(|one| of_people.contains(&one.place.0.as_str())) {
        rows.people = People::default();
    }
    rows
}

/// Whether the store has a state that somebody remembers: it does not lie before it, and was not
/// continued otherwise. Right whichever node made and sequenced the changes since, because the store
/// keeps every head. `found` is what the store has under the remembered sequence.
///
/// # Errors
/// [`Error::VaultRolledBack`] if it has not.
pub(crate) fn remembers(
    pepper: &KeyPepper,
    known: VaultHead,
    found: Option<StateHead>,
) -> Result<(), Error> {
    // A head of the first layout: the rows were sealed after it.
    if known.sequence == 0 {
        return Ok(());
    }
    match found {
        Some(found) if opened_head(pepper, &found)?.head == known => Ok(()),
        _ => Err(Error::VaultRolledBack),
    }
}

/// All rows for a Snapshot: those that do not fit their seals are logged and left out.
pub(crate) async fn load(instance: &Instance) -> Result<Everything, Error> {
    let (rows, judgement) = load_judged(instance).await?;
    for Broken { place: (kind, id), how } in &judgement.broken {
        tracing::error!(
            row.kind = kind,
            row.id = id,
            %how,
            "a row was not written by Weirgate; what hangs on it stays closed"
        );
    }
    Ok(trusted(rows, &judgement.broken))
}

/// All rows for a verb.
///
/// # Errors
/// [`Error::RowTampered`] if any row does not fit its seal.
pub(crate) async fn load_whole(instance: &Instance) -> Result<Everything, Error> {
    let (rows, judgement) = load_judged(instance).await?;
    judgement.whole()?;
    Ok(rows)
}

async fn load_judged(instance: &Instance) -> Result<(Everything, Judgement), Error> {
    let rows = instance.store.load_all().await?;
    let judgement = judge(&instance.secrets.pepper, &rows)?;
    for known in instance.remembered()? {
        let found = instance.store.head_at(known.sequence).await?;
        remembers(&instance.secrets.pepper, known, found)?;
    }
    instance.remember(judgement.head);
    instance.follow_generations(&rows.vault_generations, &judgement);
    Ok((rows, judgement))
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    for (to, from) in array.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Care, Change, Changing},
        clients, customers,
        seals_tests::{Home, ctx, id_of},
    };
    use std::time::Instant;
    use types::{Environment, SecretBytes};

    /// A Snapshot of many rows is judged in a fraction of the time that a change may take to be in force.
    #[tokio::test]
    async fn many_rows_are_judged_fast() {
        let (connections, keys) =
            if cfg!(debug_assertions) { (100, 1_000) } else { (1_000, 10_000) };
        let home = Home::new();
        let instance = home.init().await;
        let ctx = ctx();
        let mut changing = Changing::begin(&instance, &ctx, Care::Whole).await.unwrap();
        let provider = ProviderRow {
            id: id_of(),
            slug: "p".parse().unwrap(),
            description: vec![b' '; 2_000_000],
            overlay: None,
            server: None,
            allow_private: Vec::new(),
            imported_at: ctx.now,
        };
        changing.tx.put_provider(&provider).await.unwrap();
        changing.describe(&provider);
        let client = ClientRow { id: id_of(), name: "c".parse().unwrap(), created_at: ctx.now };
        changing.tx.insert_client(&client).await.unwrap();
        for number in 0..connections {
            let name = format!("customer {number}");
            let customer =
                customers::find_or_create(&instance, &mut changing.tx, &ctx, &name).await.unwrap();
            let row = ConnectionRow {
                id: id_of(),
                provider: provider.id,
                customer: customer.id,
                environment: Environment::Live,
                scheme: "bearer".into(),
                variables: [("tenant".to_owned(), name)].into(),
                headers: [].into(),
                created_at: ctx.now,
                revoked_at: None,
            };
            changing.tx.insert_connection(&row).await.unwrap();
            let secret = SecretBytes::new(vec![7; 60]);
            let sealed = instance.seal(
                &customer.key,
                "connection",
                &row.id.to_bytes(),
                "credential",
                &secret,
            );
            changing.tx.put_sealed(&sealed.unwrap()).await.unwrap();
        }
        for _ in 0..keys {
            let id: Id<types::Key> = id_of();
            let mut digest = [0; 32];
            digest[..16].copy_from_slice(&id.to_bytes());
            let row = KeyRow {
                id,
                client: client.id,
                environment: Environment::Live,
                digest,
                created_at: ctx.now,
                expires_at: ctx.now,
                revoked_at: None,
            };
            changing.tx.insert_key(&row).await.unwrap();
        }
        changing.record(Change { verb: "test", what: "test".into(), ..Change::default() });
        changing.commit().await.unwrap();
        let began = Instant::now();
        let rows = instance.store.load_all().await.unwrap();
        let read = began.elapsed();
        let began = Instant::now();
        let judgement = judge(&instance.secrets.pepper, &rows).unwrap();
        let judged = began.elapsed();
        assert!(judgement.broken.is_empty());
        assert_eq!(judgement.actual.len(), judgement.stored.len());
        let began = Instant::now();
        clients::create(&instance, &ctx, &"another".parse().unwrap()).await.unwrap();
        let changed = began.elapsed();
        eprintln!(
            "{connections} connections, {keys} keys: read in {read:?}, judged in {judged:?}; \
             one more change in {changed:?}"
        );
        assert!(judged.as_millis() < 500, "{judged:?}");
    }
}
