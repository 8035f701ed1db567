//! What an entry says, and its canonical bytes.
//!
//! An entry is one CBOR map with unsigned keys: 0 format version, 1 kind, 2 time in microseconds
//! since 1970, 3 request; from 16 on each kind has keys of its own. Keys are never used again for
//! something else, and an absent value has no key. `docs/reference/audit.md` lists them.

use crate::{
    cbor::{Reader, Value},
    commitment::Commitment,
};
use std::{borrow::Cow, str::FromStr};
use types::{
    Action, Client, Connection, Environment, Id, IdKind, Key, Provider, Request, Timestamp,
};

/// The longest encoded entry, in bytes: C2SP bundles count in 16 bits.
pub const MAX_RECORD_BYTES: usize = 65_535;
/// The longest name of an operation, object or field in an entry, in bytes: a longer one is cut and
/// ends in `...`. So no call is too long to be recorded, whatever its provider's description says.
const MAX_NAME_BYTES: usize = 1_024;
/// Names of withheld fields take no more than this together; those left out are counted.
const MAX_WITHHELD_BYTES: usize = 16_384;
const FORMAT: u64 = 1;

/// Bytes that are no entry of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no entry of format {FORMAT}")]
pub struct DecodeError;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The writer began: of a server with its configuration, of a verb without.
    Started { at: Timestamp, version: String, configuration: Option<Configuration> },
    /// A torn end was cut off at the start.
    Recovered { at: Timestamp, cut_bytes: u64 },
    /// An intent whose outcome was lost in a crash.
    Interrupted { at: Timestamp, request: Id<Request> },
    /// A call is about to have an effect.
    Intent(Intent),
    /// How the call ended.
    Outcome(Outcome),
    /// An authenticated call was refused before its intent.
    Refused(Refused),
    /// More refusals of one key than get entries of their own.
    RefusedCount(RefusedCount),
    /// Calls that nobody can be held to account for.
    Unauthenticated(Unauthenticated),
    /// Something was changed on the control plane.
    Changed(Changed),
    /// The writer ended in order.
    Closed { at: Timestamp },
}

/// What a server was told when it began: names and digests, no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// SHA-256 over all that counts.
    pub digest: [u8; 32],
    /// Keys that have another value than by default.
    pub keys: Vec<String>,
    /// SHA-256 of the certificates of authorities that are trusted beside the public ones; of very
    /// many the first.
    pub extra_roots: Vec<[u8; 32]>,
    /// When the server began before this, if the digest was another then.
    pub changed_since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub request: Id<Request>,
    pub at: Timestamp,
    pub environment: Environment,
    pub key: Id<Key>,
    pub client: Id<Client>,
    pub connection: Id<Connection>,
    /// Stands for the customer.
    pub customer: Commitment,
    pub provider: Id<Provider>,
    pub operation: String,
    pub action: Action,
    pub object: Option<String>,
    /// The store's generation that the decision was compiled from.
    pub generation: u64,
    pub is_safe_method: bool,
    /// Stands for the caller's network, where that is known: by this installation's key.
    pub network: Option<[u8; 8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub request: Id<Request>,
    pub at: Timestamp,
    pub status: u16,
    pub provider_status: Option<u16>,
    /// Set if the call was not answered as asked.
    pub code: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Members and elements that were not declared: counted, because their names are data.
    pub dropped: u64,
    /// Values whose kind did not fit.
    pub mismatched: u64,
    /// Declared fields that were there and were withheld.
    pub withheld: Vec<String>,
    /// More of these, whose names are left out.
    pub withheld_more: u64,
    pub duration_us: u64,
    /// How often the request was tried on a connection to the provider. Set if more than once.
    pub attempts: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub request: Id<Request>,
    pub at: Timestamp,
    pub key: Id<Key>,
    pub client: Id<Client>,
    pub connection: Option<Id<Connection>>,
    pub operation: Option<String>,
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCount {
    pub at: Timestamp,
    pub key: Id<Key>,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthenticated {
    pub at: Timestamp,
    pub code: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The change's own id: a change that is sequenced a second time is known by it.
    pub event: [u8; 16],
    pub at: Timestamp,
    pub request: Id<Request>,
    /// `local:<uid>` or `system`.
    pub actor: String,
    /// Like `connection.create`.
    pub verb: String,
    /// Kind and id.
    pub what: String,
    /// Names and counts, never personal values.
    pub details: Vec<(String, String)>,
    pub customer: Option<Commitment>,
    /// The state of the store's rows after the change.
    pub vault_head: Option<VaultHead>,
    /// Their state before it: so heads form a chain, whichever logs its links come to lie in.
    pub previous_head: Option<VaultHead>,
}

/// What an entry means for the calls that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallStep {
    Begins(u128),
    Ends(u128),
}

/// The state of the vault and of the rows around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VaultHead {
    pub count: u64,
    pub root: [u8; 32],
    /// Counts the store's changes: the state is the one after this one. 0 is a head of the vault's
    /// rows alone, as the first layout had it.
    pub sequence: u64,
}

const STARTED: u64 = 1;
const RECOVERED: u64 = 2;
const INTERRUPTED: u64 = 3;
const INTENT: u64 = 4;
const OUTCOME: u64 = 5;
const REFUSED: u64 = 6;
const REFUSED_COUNT: u64 = 7;
const UNAUTHENTICATED: u64 = 8;
const CHANGED: u64 = 9;
const CLOSED: u64 = 10;

/// Collects members in ascending order of keys.
struct Put<'r>(Vec<(u64, Value<'r>)>);

impl<'r> Put<'r> {
    fn new(kind: u64, at: Timestamp) -> Self {
        let micros = u64::try_from(at.as_micros()).unwrap_or(0);
        let mut members = Vec::with_capacity(16);
        members
            .extend([(0, FORMAT), (1, kind), (2, micros)].map(|(key, it)| (key, Value::Uint(it))));
        Self(members)
    }
    fn value(mut self, key: u64, value: Value<'r>) -> Self {
        self.0.push((key, value));
        self
    }
    fn uint(self, key: u64, number: u64) -> Self {
        self.value(key, Value::Uint(number))
    }
    fn id<K>(self, key: u64, id: Id<K>) -> Self {
        self.value(key, Value::Bytes(id.to_bytes().to_vec().into()))
    }
    fn text(self, key: u64, text: &'r str) -> Self {
        self.value(key, Value::Text(text.into()))
    }
    fn name(self, key: u64, name: &'r str) -> Self {
        self.value(key, Value::Text(cut(name)))
    }
    fn commitment(self, key: u64, commitment: Commitment) -> Self {
        self.value(key, Value::Bytes(commitment.to_bytes().to_vec().into()))
    }
    fn head(self, [count, root, sequence]: [u64; 3], head: VaultHead) -> Self {
        self.uint(count, head.count)
            .value(root, Value::Bytes(head.root.to_vec().into()))
            .optional((head.sequence > 0).then_some(head.sequence), |put, number| {
                put.uint(sequence, number)
            })
    }
    fn configuration(self, one: &'r Configuration) -> Self {
        let keys = one.keys.iter().map(|key| Value::Text(key.into())).collect();
        let roots =
            one.extra_roots.iter().map(|root| Value::Bytes(root.as_slice().into())).collect();
        self.value(17, Value::Bytes(one.digest.as_slice().into()))
            .value(18, Value::Array(keys))
            .value(19, Value::Array(roots))
            .optional(one.changed_since, |put, since| {
                put.uint(20, u64::try_from(since.as_micros()).unwrap_or(0))
            })
    }
    fn optional<T>(self, value: Option<T>, put: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => put(self, value),
            None => self,
        }
    }
}

/// Takes members out, in ascending order of their keys; at the end none may be left.
struct Take<'r> {
    reader: Reader<'r>,
    /// Of the next member.
    key: Option<u64>,
    /// Members after that.
    left: usize,
}

type Taken<T> = Result<T, DecodeError>;

impl<'r> Take<'r> {
    fn new(bytes: &'r [u8]) -> Taken<Self> {
        let mut reader = Reader::new(bytes);
        let left = reader.map().ok_or(DecodeError)?;
        let mut take = Self { reader, key: None, left };
        take.next_key(None)?;
        Ok(take)
    }
    fn next_key(&mut self, last: Option<u64>) -> Taken<()> {
        let Some(left) = self.left.checked_sub(1) else {
            self.key = None;
            return Ok(());
        };
        self.left = left;
        let key = self.reader.uint().ok_or(DecodeError)?;
        self.key = Some(key);
        if last.is_none_or(|last| last < key) { Ok(()) } else { Err(DecodeError) }
    }
    const fn is_at_end(&self) -> bool {
        self.key.is_none() && self.reader.is_at_end()
    }
    fn value<T>(&mut self, key: u64, read: impl FnOnce(&mut Reader<'r>) -> Option<T>) -> Taken<T> {
        if self.key != Some(key) {
            return Err(DecodeError);
        }
        let value = read(&mut self.reader).ok_or(DecodeError)?;
        self.next_key(Some(key))?;
        Ok(value)
    }
    fn uint<T: TryFrom<u64>>(&mut self, key: u64) -> Taken<T> {
        self.value(key, |reader| T::try_from(reader.uint()?).ok())
    }
    fn bool(&mut self, key: u64) -> Taken<bool> {
        self.value(key, Reader::bool)
    }
    fn text(&mut self, key: u64) -> Taken<String> {
        self.value(key, |reader| Some(reader.text()?.to_owned()))
    }
    fn word<T: FromStr>(&mut self, key: u64) -> Taken<T> {
        self.value(key, |reader| reader.text()?.parse().ok())
    }
    fn array<const N: usize>(&mut self, key: u64) -> Taken<[u8; N]> {
        self.value(key, |reader| reader.bytes()?.try_into().ok())
    }
    fn id<K: IdKind>(&mut self, key: u64) -> Taken<Id<K>> {
        self.array(key).map(Id::from_bytes)
    }
    fn commitment(&mut self, key: u64) -> Taken<Commitment> {
        self.array(key).map(Commitment::from_bytes)
    }
    fn head(&mut self, [count, root, sequence]: [u64; 3]) -> Taken<VaultHead> {
        let (count, root) = (self.uint(count)?, self.array(root)?);
        let sequence = match self.optional(sequence, |take| take.uint(sequence))? {
            // Zero has no key: one state has one spelling.
            Some(0) => return Err(DecodeError),
            number => number.unwrap_or(0),
        };
        Ok(VaultHead { count, root, sequence })
    }
    fn list<T>(&mut self, key: u64, item: impl Fn(&mut Reader<'r>) -> Option<T>) -> Taken<Vec<T>> {
        self.value(key, |reader| (0..reader.array()?).map(|_| item(reader)).collect())
    }
    fn texts(&mut self, key: u64) -> Taken<Vec<String>> {
        self.list(key, |reader| Some(reader.text()?.to_owned()))
    }
    fn pairs(&mut self, key: u64) -> Taken<Vec<(String, String)>> {
        self.list(key, |reader| {
            (reader.array()? == 2).then_some(())?;
            Some((reader.text()?.to_owned(), reader.text()?.to_owned()))
        })
    }
    fn configuration(&mut self) -> Taken<Configuration> {
        Ok(Configuration {
            digest: self.array(17)?,
            keys: self.texts(18)?,
            extra_roots: self.list(19, |reader| reader.bytes()?.try_into().ok())?,
            changed_since: self.optional(20, |take| take.uint(20))?.map(Timestamp::from_micros),
        })
    }
    fn optional<T>(
        &mut self,
        key: u64,
        take: impl FnOnce(&mut Self) -> Taken<T>,
    ) -> Taken<Option<T>> {
        if self.key == Some(key) { take(self).map(Some) } else { Ok(None) }
    }
}

impl Record {
    /// The request of a call that this entry begins or ends.
    pub(crate) const fn call_step(&self) -> Option<CallStep> {
        match self {
            Self::Intent(intent) => Some(CallStep::Begins(intent.request.as_u128())),
            Self::Outcome(outcome) => Some(CallStep::Ends(outcome.request.as_u128())),
            Self::Interrupted { request, .. } => Some(CallStep::Ends(request.as_u128())),
            _ => None,
        }
    }

    /// The entry's bytes in canonical CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        Value::Map(self.to_put().0).encode(&mut out);
        out
    }

    fn to_put(&self) -> Put<'_> {
        match self {
            Self::Started { at, version, configuration } => {
                let put = Put::new(STARTED, *at).text(16, version);
                put.optional(configuration.as_ref(), Put::configuration)
            }
            Self::Recovered { at, cut_bytes } => Put::new(RECOVERED, *at).uint(16, *cut_bytes),
            Self::Interrupted { at, request } => Put::new(INTERRUPTED, *at).id(3, *request),
            Self::Closed { at } => Put::new(CLOSED, *at),
            Self::Intent(one) => Put::new(INTENT, one.at)
                .id(3, one.request)
                .text(16, one.environment.as_str())
                .id(17, one.key)
                .id(18, one.client)
                .id(19, one.connection)
                .commitment(20, one.customer)
                .id(21, one.provider)
                .name(22, &one.operation)
                .text(23, one.action.as_str())
                .optional(one.object.as_deref(), |put, object| put.name(24, object))
                .uint(25, one.generation)
                .value(26, Value::Bool(one.is_safe_method))
                .optional(one.network.as_ref(), |put, network| {
                    put.value(27, Value::Bytes(network.as_slice().into()))
                }),
            Self::Outcome(one) => {
                let (withheld, left_out) = within_limit(&one.withheld);
                let more = one.withheld_more.saturating_add(left_out);
                Put::new(OUTCOME, one.at)
                    .id(3, one.request)
                    .uint(16, u64::from(one.status))
                    .optional(one.provider_status, |put, status| put.uint(17, u64::from(status)))
                    .optional(one.code.as_deref(), |put, code| put.text(18, code))
                    .uint(19, one.bytes_in)
                    .uint(20, one.bytes_out)
                    .uint(21, one.dropped)
                    .uint(22, one.mismatched)
                    .value(23, Value::Array(withheld))
                    .uint(24, one.duration_us)
                    .optional(Some(more).filter(|more| *more > 0), |put, more| put.uint(25, more))
                    .optional(one.attempts, |put, tries| put.uint(26, tries))
            }
            Self::Refused(one) => Put::new(REFUSED, one.at)
                .id(3, one.request)
                .id(16, one.key)
                .id(17, one.client)
                .optional(one.connection, |put, connection| put.id(18, connection))
                .optional(one.operation.as_deref(), |put, operation| put.name(19, operation))
                .text(20, &one.code),
            Self::RefusedCount(one) => {
                Put::new(REFUSED_COUNT, one.at).id(16, one.key).uint(17, one.count)
            }
            Self::Unauthenticated(one) => {
                Put::new(UNAUTHENTICATED, one.at).text(16, &one.code).uint(17, one.count)
            }
            Self::Changed(one) => Put::new(CHANGED, one.at)
                .id(3, one.request)
                .value(16, Value::Bytes(one.event.as_slice().into()))
                .text(17, &one.actor)
                .text(18, &one.verb)
                .text(19, &one.what)
                .value(20, Value::Array(one.details.iter().map(pair_of).collect()))
                .optional(one.customer, |put, customer| put.commitment(21, customer))
                .optional(one.vault_head, |put, head| put.head([22, 23, 24], head))
                .optional(one.previous_head, |put, head| put.head([25, 26, 27], head)),
        }
    }

    /// Reads what [`Record::encode`] wrote; anything else is refused, so that an entry has one
    /// meaning and one spelling.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut take = Take::new(bytes)?;
        if take.uint::<u64>(0)? != FORMAT {
            return Err(DecodeError);
        }
        let kind = take.uint::<u64>(1)?;
        let at = Timestamp::from_micros(take.uint(2)?);
        let record = match kind {
            STARTED => Self::Started {
                at,
                version: take.text(16)?,
                configuration: take.optional(17, Take::configuration)?,
            },
            RECOVERED => Self::Recovered { at, cut_bytes: take.uint(16)? },
            INTERRUPTED => Self::Interrupted { at, request: take.id(3)? },
            CLOSED => Self::Closed { at },
            INTENT => Self::Intent(Intent {
                at,
                request: take.id(3)?,
                environment: take.word(16)?,
                key: take.id(17)?,
                client: take.id(18)?,
                connection: take.id(19)?,
                customer: take.commitment(20)?,
                provider: take.id(21)?,
                operation: take.text(22)?,
                action: take.word(23)?,
                object: take.optional(24, |take| take.text(24))?,
                generation: take.uint(25)?,
                is_safe_method: take.bool(26)?,
                network: take.optional(27, |take| take.array(27))?,
            }),
            OUTCOME => Self::Outcome(Outcome {
                at,
                request: take.id(3)?,
                status: take.uint(16)?,
                provider_status: take.optional(17, |take| take.uint(17))?,
                code: take.optional(18, |take| take.text(18))?,
                bytes_in: take.uint(19)?,
                bytes_out: take.uint(20)?,
                dropped: take.uint(21)?,
                mismatched: take.uint(22)?,
                withheld: take.texts(23)?,
                duration_us: take.uint(24)?,
                withheld_more: match take.optional(25, |take| take.uint(25))? {
                    // An absent value has no key.
                    Some(0) => return Err(DecodeError),
                    more => more.unwrap_or(0),
                },
                attempts: match take.optional(26, |take| take.uint(26))? {
                    Some(0 | 1) => return Err(DecodeError),
                    tries => tries,
                },
            }),
            REFUSED => Self::Refused(Refused {
                at,
                request: take.id(3)?,
                key: take.id(16)?,
                client: take.id(17)?,
                connection: take.optional(18, |take| take.id(18))?,
                operation: take.optional(19, |take| take.text(19))?,
                code: take.text(20)?,
            }),
            REFUSED_COUNT => {
                Self::RefusedCount(RefusedCount { at, key: take.id(16)?, count: take.uint(17)? })
            }
            UNAUTHENTICATED => Self::Unauthenticated(Unauthenticated {
                at,
                code: take.text(16)?,
                count: take.uint(17)?,
            }),
            CHANGED => Self::Changed(Changed {
                at,
                request: take.id(3)?,
                event: take.array(16)?,
                actor: take.text(17)?,
                verb: take.text(18)?,
                what: take.text(19)?,
                details: take.pairs(20)?,
                customer: take.optional(21, |take| take.commitment(21))?,
                vault_head: take.optional(22, |take| take.head([22, 23, 24]))?,
                previous_head: take.optional(25, |take| take.head([25, 26, 27]))?,
            }),
            _ => return Err(DecodeError),
        };
        if take.is_at_end() { Ok(record) } else { Err(DecodeError) }
    }
}

/// A name within its limit.
fn cut(name: &str) -> Cow<'_, str> {
    const MARK: &str = "...";
    if name.len() <= MAX_NAME_BYTES {
        return name.into();
    }
    let end = name.floor_char_boundary(MAX_NAME_BYTES - MARK.len());
    let (kept, _) = name.split_at(end);
    format!("{kept}{MARK}").into()
}

/// As many names as fit, and how many do not.
fn within_limit(names: &[String]) -> (Vec<Value<'_>>, u64) {
    let mut room = MAX_WITHHELD_BYTES;
    let mut kept = Vec::new();
    for name in names {
        let name = cut(name);
        let Some(left) = room.checked_sub(name.len()) else { break };
        room = left;
        kept.push(Value::Text(name));
    }
    let left_out = names.len() - kept.len();
    (kept, left_out as u64)
}

fn pair_of((name, value): &(String, String)) -> Value<'_> {
    Value::Array(vec![Value::Text(name.into()), Value::Text(value.into())])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn id<K>(number: u128) -> Id<K> {
        Id::from_u128(number)
    }

    pub(crate) fn intent(number: u128) -> Record {
        Record::Intent(Intent {
            request: id(number),
            at: Timestamp::from_micros(1_700_000_000_000_000),
            environment: Environment::Live,
            key: id(2),
            client: id(3),
            connection: id(4),
            customer: Commitment::new(&[5; 32], b"Acme"),
            provider: id(6),
            operation: "list_employees".into(),
            action: Action::Read,
            object: Some("Employee".into()),
            generation: 7,
            is_safe_method: true,
            network: None,
        })
    }

    fn from_a_network(network: [u8; 8]) -> Record {
        let Record::Intent(mut begin) = intent(1) else { unreachable!() };
        begin.network = Some(network);
        Record::Intent(begin)
    }

    pub(crate) fn changed(event: [u8; 16]) -> Record {
        Record::Changed(Changed {
            event,
            at: Timestamp::from_micros(1_700_000_000_000_000),
            request: id(1),
            actor: "local:0".into(),
            verb: "client.create".into(),
            what: "client".into(),
            details: Vec::new(),
            customer: None,
            vault_head: None,
            previous_head: None,
        })
    }

    pub(crate) fn outcome(number: u128) -> Record {
        Record::Outcome(Outcome {
            request: id(number),
            at: Timestamp::from_micros(1_700_000_000_000_900),
            status: 200,
            provider_status: Some(200),
            code: None,
            bytes_in: 1_000,
            bytes_out: 300,
            dropped: 1,
            mismatched: 0,
            withheld: vec!["ssn".into()],
            withheld_more: 0,
            duration_us: 900,
            attempts: None,
        })
    }

    fn repeated(tries: u64) -> Record {
        let Record::Outcome(mut end) = outcome(1) else { unreachable!() };
        end.attempts = Some(tries);
        Record::Outcome(end)
    }

    pub(crate) fn one_of_each() -> Vec<Record> {
        let at = Timestamp::from_micros(1);
        vec![
            Record::Started { at, version: "0.1.0".into(), configuration: None },
            Record::Started {
                at,
                version: "0.1.0".into(),
                configuration: Some(Configuration {
                    digest: [6; 32],
                    keys: vec!["max_calls".into()],
                    extra_roots: vec![[7; 32], [8; 32]],
                    changed_since: Some(at),
                }),
            },
            Record::Recovered { at, cut_bytes: 17 },
            intent(1),
            from_a_network([7; 8]),
            outcome(1),
            repeated(2),
            Record::Interrupted { at, request: id(9) },
            Record::Refused(Refused {
                request: id(1),
                at,
                key: id(2),
                client: id(3),
                connection: None,
                operation: None,
                code: "not_granted".into(),
            }),
            Record::RefusedCount(RefusedCount { at, key: id(2), count: 5 }),
            Record::Unauthenticated(Unauthenticated { at, code: "key_missing".into(), count: 5 }),
            Record::Changed(Changed {
                event: [3; 16],
                at,
                request: id(1),
                actor: "local:0".into(),
                verb: "connection.create".into(),
                what: "connection conn_x".into(),
                details: vec![("scheme".into(), "bearer".into())],
                customer: Some(Commitment::new(&[5; 32], b"Acme")),
                vault_head: Some(VaultHead { count: 3, root: [4; 32], sequence: 9 }),
                previous_head: Some(VaultHead { count: 2, root: [5; 32], sequence: 0 }),
            }),
            Record::Closed { at },
        ]
    }

    #[test]
    fn every_kind_reads_back() {
        for record in one_of_each() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    /// The format is fixed from the first entry: these bytes never change.
    #[test]
    fn known_bytes() {
        let closed = Record::Closed { at: Timestamp::from_micros(1_000_000) };
        assert_eq!(hex::encode(closed.encode()), "a30001010a021a000f4240");
        let count = Record::RefusedCount(RefusedCount {
            at: Timestamp::from_micros(0),
            key: id(1),
            count: 300,
        });
        assert_eq!(
            hex::encode(count.encode()),
            "a5000101070200105000000000000000000000000000000001111 9012c".replace(' ', "")
        );
    }

    #[test]
    fn changed_bytes_are_refused_or_mean_something_else() {
        for record in one_of_each() {
            let bytes = record.encode();
            for place in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[place] ^= 1;
                assert_ne!(Record::decode(&changed), Ok(record.clone()), "byte {place}");
            }
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err());
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Record::decode(&longer).is_err());
        }
    }

    /// What a provider's description says is never too long for the log.
    #[test]
    fn long_names_are_cut_and_many_are_counted() {
        let long = "\u{e4}".repeat(MAX_RECORD_BYTES);
        let Record::Intent(mut begin) = intent(1) else { unreachable!() };
        begin.operation = long.clone();
        begin.object = Some(long.clone());
        let Ok(Record::Intent(begin)) = Record::decode(&Record::Intent(begin).encode()) else {
            panic!("no intent")
        };
        assert!(begin.operation.ends_with("\u{e4}...") && begin.operation.len() <= MAX_NAME_BYTES);
        assert_eq!(begin.object, Some(begin.operation));
        for names in [vec![long; 1_000], (0..100_000).map(|n| format!("field_{n}")).collect()] {
            let Record::Outcome(mut end) = outcome(1) else { unreachable!() };
            let count = names.len();
            end.withheld = names;
            end.withheld_more = 5;
            let bytes = Record::Outcome(end).encode();
            assert!(bytes.len() < 2 * MAX_WITHHELD_BYTES, "{}", bytes.len());
            let Ok(Record::Outcome(end)) = Record::decode(&bytes) else { panic!("no outcome") };
            assert!(!end.withheld.is_empty());
            assert_eq!(end.withheld.len() as u64 + end.withheld_more, count as u64 + 5);
            // What was read is written the same again.
            assert_eq!(Record::Outcome(end).encode(), bytes);
        }
    }

    /// As logs had it before attempts were counted; and what is counted has one spelling.
    #[test]
    fn an_outcome_without_attempts_reads_as_before() {
        let known = "ac00010105021b00060a24181e4384035000000000000000000000000000000001\
                     1018c81118c8131903e81419012c1501160017816373736e1818190384";
        assert_eq!(hex::encode(outcome(1).encode()), known);
        assert_eq!(Record::decode(&hex::decode(known).unwrap()), Ok(outcome(1)));
        for (tries, is_read) in [(0, false), (1, false), (2, true), (3, true)] {
            let decoded = Record::decode(&repeated(tries).encode());
            assert_eq!(decoded.is_ok(), is_read, "{tries}");
        }
    }

    #[test]
    fn unknown_keys_and_formats_are_refused() {
        for bad in [
            "a30002010a0200",
            "a4000101 0a0200 1863 00",
            "a2000101 0a",
            "80",
            "a0",
            "a3 010a 0001 0200",
            "a4 0001 0001 010a 0200",
        ] {
            let bytes = hex::decode(bad.replace(' ', "")).unwrap();
            assert_eq!(Record::decode(&bytes), Err(DecodeError), "{bad}");
        }
    }
}
