//! Generations of the vault: a new one is begun, everything is sealed anew under it, and those before
//! are destroyed.
//!
//! A customer is the unit: it gets a new key of the new generation, and all its values are sealed under
//! that, in one transaction. So at any moment each value opens with the key that its customer has, and
//! no call notices: a Snapshot is of one moment. A batch is a change with one entry, of as many customers
//! as hold a number of values; each change judges all rows, so batches are large. What is destroyed with
//! a generation is the key that wrapped its customers' keys.

use crate::{
    change::{Care, Change, Changing},
    customers,
    error::Error,
    instance::{Instance, SELF_CUSTOMER},
    seals,
};
use std::{collections::BTreeMap, time::Duration};
use store::{CustomerRow, Lease, SealedRow};
use types::{Actor, Customer, Id, OpContext};
use vault::CustomerKey;

/// Values that one change seals anew.
pub const BATCH: usize = 4_000;
/// Customers that are looked at in one change.
const MAX_CUSTOMERS: u32 = 4_000;
const WORK: &str = "rekey";
/// So long a node must be silent before another one takes its work: a batch of a large store, several
/// times over. No clock is compared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Under the company's own customer: keys that it had before, which open what lies outside of the
/// database.
const FORMER_KEY: &str = "former_key_";

/// Begins a new generation: new keys go under it from now on.
///
/// # Errors
/// [`Error::RotationUnderWay`] while something is sealed under an earlier one.
pub async fn begin(instance: &Instance, ctx: &OpContext) -> Result<u32, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let rows = changing.tx.vault_generations().await?;
    if rows.len() > 1 {
        return Err(Error::RotationUnderWay);
    }
    // Under the root key of now: what a former one wraps would be lost with it.
    instance.keys.confirm(&instance.folder, &rows)?;
    let root = instance.keys.root();
    let former = instance.keyring();
    let (ring, wrapped) = former.with_new_generation(&root, instance.random.as_ref())?;
    changing.tx.insert_vault_generation(wrapped.number, &wrapped.blob).await?;
    changing.record(Change {
        verb: "vault.rotate",
        what: format!("generation {}", wrapped.number),
        details: vec![("former", former.current_generation().to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    instance.keys.take_ring(ring);
    Ok(wrapped.number)
}

/// What one change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// So many values are sealed anew.
    Sealed { values: u64 },
    /// Nothing was left, and the generations before this one are destroyed.
    Destroyed { generation: u32 },
    /// There is one generation.
    Nothing,
}

/// Seals a batch anew, or destroys what nothing is sealed under any more.
pub async fn advance(instance: &Instance, ctx: &OpContext, batch: usize) -> Result<Done, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let rows = changing.tx.vault_generations().await?;
    if rows.len() < 2 {
        return Ok(Done::Nothing);
    }
    // A keyring that could not follow must not take an earlier generation for the newest.
    instance.keys.follow(&instance.folder, &rows)?;
    let current = instance.keyring().current_generation();
    let customers = changing.tx.customers_before(current, MAX_CUSTOMERS).await?;
    if customers.is_empty() {
        changing.tx.delete_generations_before(current).await?;
        let numbers = rows.iter().map(|row| row.number).filter(|number| *number < current);
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        changing.record(Change {
            verb: "vault.destroy",
            what: format!("generation {}", numbers.join(", ")),
            details: vec![("current", current.to_string())],
            ..Change::default()
        });
        changing.commit().await?;
        let left: Vec<_> = rows.into_iter().filter(|row| row.number == current).collect();
        instance.keys.follow(&instance.folder, &left)?;
        return Ok(Done::Destroyed { generation: current });
    }
    let (mut values, mut count) = (0_u64, 0_u64);
    for row in &customers {
        values += rekey(instance, &mut changing, row).await?;
        count += 1;
        if values >= batch as u64 {
            break;
        }
    }
    changing.record(Change {
        verb: "vault.reencrypt",
        what: format!("generation {current}"),
        details: vec![("customers", count.to_string()), ("values", values.to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(Done::Sealed { values })
}

/// Gives a customer a key of the newest generation, and seals all its values under that.
async fn rekey(
    instance: &Instance,
    changing: &mut Changing<'_>,
    row: &CustomerRow,
) -> Result<u64, Error> {
    let former = customers::open(instance, row)?;
    let ring = instance.keyring();
    let (key, wrapped) = ring.create_customer_key(row.id, instance.random.as_ref())?;
    changing.tx.rekey_customer(row.id, wrapped.generation, &wrapped.blob).await?;
    let sealed = changing.tx.sealed_of(row.id).await?;
    let mut written = Vec::with_capacity(sealed.len() + 1);
    for one in &sealed {
        let value = instance.open_sealed(&former.key, one)?;
        let place = (one.table.as_str(), &one.record, one.column.as_str());
        let anew = instance.seal_version(&key, place, one.version + 1, &value)?;
        changing.tx.put_sealed(&anew).await?;
        written.push(anew);
    }
    let own = instance.secrets.pepper.lookup_digest(customers::LOOKUP_KIND, SELF_CUSTOMER);
    if row.lookup == own {
        let column = format!("{FORMER_KEY}{}", row.generation);
        let (id, bytes) = (row.id.to_bytes(), former.key.to_bytes());
        let kept = instance.seal(&key, customers::TABLE, &id, &column, &bytes)?;
        changing.tx.put_sealed(&kept).await?;
        written.push(kept);
    }
    let (generation, wrapped_key) = (wrapped.generation, wrapped.blob);
    changing.wrote(&CustomerRow { generation, wrapped_key, ..row.clone() }, &written);
    Ok(sealed.len() as u64)
}

/// Keys that the company's own customer had before this one, the newest first.
pub(crate) fn former_keys(
    instance: &Instance,
    sealed: &[SealedRow],
    (id, key): (Id<Customer>, &CustomerKey),
) -> Result<Vec<CustomerKey>, Error> {
    let mut former = BTreeMap::new();
    for row in sealed.iter().filter(|row| row.customer == id && row.table == customers::TABLE) {
        let number = row.column.strip_prefix(FORMER_KEY).and_then(|number| number.parse().ok());
        let Some(generation) = number else { continue };
        let bytes = instance.open_sealed(key, row)?;
        former.insert(generation, CustomerKey::from_bytes(id, generation, &bytes)?);
    }
    Ok(former.into_values().rev().collect())
}

/// A generation and what is under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    pub number: u32,
    pub is_current: bool,
    pub customers: u64,
    pub values: u64,
}

/// How far a rotation is.
#[derive(Debug)]
pub struct Status {
    pub generations: Vec<Generation>,
    /// Values under the newest generation, and under all.
    pub done: u64,
    pub all: u64,
}

impl Status {
    /// Whether a rotation is under way.
    pub fn is_under_way(&self) -> bool {
        self.generations.len() > 1
    }
}

pub async fn status(instance: &Instance) -> Result<Status, Error> {
    let rows = seals::load_whole(instance).await?;
    let newest = rows.vault_generations.last().map_or(0, |row| row.number);
    let count = |all: &mut dyn Iterator<Item = u32>, number| {
        all.filter(|generation| *generation == number).count() as u64
    };
    let generations = rows.vault_generations.iter().map(|row| Generation {
        number: row.number,
        is_current: row.number == newest,
        customers: count(&mut rows.customers.iter().map(|one| one.generation), row.number),
        values: count(&mut rows.sealed.iter().map(|one| one.generation), row.number),
    });
    let generations: Vec<Generation> = generations.collect();
    let all = rows.sealed.len() as u64;
    let done = generations.last().map_or(0, |newest| newest.values);
    Ok(Status { generations, done, all })
}

/// Who of several nodes does the work: one that sees another at it waits.
#[derive(Debug, Default)]
pub struct Turn {
    seen: Option<Lease>,
}

impl Turn {
    /// Takes or keeps the work. It is this node's if it had it last, or if nobody did it meanwhile and
    /// `is_patient` no more.
    pub async fn take(&mut self, instance: &Instance, is_patient: bool) -> Result<bool, Error> {
        let seen = instance.store.lease(WORK).await?;
        let is_own = seen.as_ref().is_none_or(|lease| lease.holder == instance.origin);
        let is_silent = self.seen == seen && !is_patient;
        if is_own || is_silent {
            return Ok(instance.store.take_lease(WORK, &instance.origin, seen.as_ref()).await?);
        }
        Ok(false)
    }

    /// Looks at who does it; whether they moved since the last look.
    pub async fn look(&mut self, instance: &Instance) -> Result<bool, Error> {
        let seen = instance.store.lease(WORK).await?;
        let has_moved = self.seen != seen;
        self.seen = seen;
        Ok(has_moved)
    }
}

/// For work that nobody asked for at this moment.
pub(crate) fn by_itself(instance: &Instance) -> Result<OpContext, Error> {
    let now = instance.clock.now();
    let request = Id::generate(now, instance.random.as_ref())?;
    Ok(OpContext { actor: Actor::System, request, now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::{Compiler, read_provider},
        connections::{CREDENTIAL_COLUMN, CREDENTIAL_TABLE},
        seals_tests::{Home, ctx, id_of},
    };
    use gateway::LimitSettings;
    use std::{fs, time::Instant};
    use store::ConnectionRow;
    use types::{Environment, SecretBytes, SecretText};

    /// An installation with so many customers, each with one connection.
    async fn furnished(home: &Home, customers: usize) -> Instance {
        let instance = home.init().await;
        let ctx = ctx();
        let credential = SecretText::new("sandbox-credential".into());
        let (url, host) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
        crate::demo::seed(&instance, &ctx, url, host, &credential).await.unwrap();
        let provider = instance.store.providers().await.unwrap().remove(0).id;
        let mut changing = Changing::begin(&instance, &ctx, Care::Whole).await.unwrap();
        for number in 0..customers {
            let name = format!("customer {number}");
            let lookup = instance.secrets.pepper.lookup_digest(customers::LOOKUP_KIND, &name);
            let tx = &mut changing.tx;
            let customer = customers::create(&instance, tx, &ctx, lookup, &name).await.unwrap();
            let row = ConnectionRow {
                id: id_of(),
                provider,
                customer: customer.id,
                environment: Environment::Live,
                scheme: "bearerAuth".into(),
                variables: [].into(),
                headers: [].into(),
                created_at: ctx.now,
                revoked_at: None,
            };
            tx.insert_connection(&row).await.unwrap();
            let secret = SecretBytes::new(format!("{{\"token\":\"t{number}\"}}").into_bytes());
            let id = row.id.to_bytes();
            let sealed =
                instance.seal(&customer.key, CREDENTIAL_TABLE, &id, CREDENTIAL_COLUMN, &secret);
            tx.put_sealed(&sealed.unwrap()).await.unwrap();
        }
        changing.record(Change { verb: "test", what: "test".into(), ..Change::default() });
        changing.commit().await.unwrap();
        instance
    }

    /// Seconds of a processor that this process used.
    fn busy() -> f64 {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let ticks: Vec<f64> =
            rest.split(' ').skip(12).take(2).map(|n| n.parse().unwrap()).collect();
        ticks.iter().sum::<f64>() / 100.0
    }

    /// A server follows each batch as it would serve: no connection is ever missing from its Snapshot, so no
    /// call fails. In a release build it is the figure of docs/benchmarks.md.
    #[tokio::test]
    async fn every_snapshot_of_a_rotation_has_every_connection() {
        let (count, batch) = if cfg!(debug_assertions) { (60, 25) } else { (50_000, BATCH) };
        let home = Home::new();
        let instance = furnished(&home, count).await;
        // Another process, which learns of the new generation from the store.
        let server = home.open().await.unwrap();
        let limits = LimitSettings {
            per_key: Vec::new(),
            per_connection: Vec::new(),
            per_provider: Vec::new(),
            connection_calls: 1,
            provider_calls: 1,
        };
        let mut compiler = Compiler::new(&server, limits).unwrap();
        let row = server.store.providers().await.unwrap().remove(0);
        compiler.learn(read_provider(&row).unwrap());
        let mut closed = 0;
        let mut compile = async |closed: &mut usize| {
            let rows = seals::load(&server).await.unwrap();
            let begun = Instant::now();
            let compiled = compiler.compile(&server, &rows, ctx().now);
            *closed += count + 1 - compiled.snapshot.connections.len();
            begun.elapsed()
        };
        compile(&mut closed).await;
        assert_eq!(begin(&instance, &ctx()).await.unwrap(), 2);
        let begun_again = begin(&instance, &ctx()).await.unwrap_err();
        assert!(matches!(begun_again, Error::RotationUnderWay), "{begun_again}");
        compile(&mut closed).await;
        let (mut sealed, mut batches, mut longest) = (0, 0, Duration::ZERO);
        let (mut working, mut used) = (Duration::ZERO, 0.0);
        loop {
            let (began, busy_before) = (Instant::now(), busy());
            let done = advance(&instance, &ctx(), batch).await.unwrap();
            longest = longest.max(began.elapsed());
            working += began.elapsed();
            used += busy() - busy_before;
            compile(&mut closed).await;
            match done {
                Done::Sealed { values } => sealed += values,
                Done::Destroyed { generation } => {
                    assert_eq!(generation, 2);
                    break;
                }
                Done::Nothing => panic!("it ended without a destruction"),
            }
            batches += 1;
        }
        assert_eq!(closed, 0, "connections were missing");
        assert!(batches > 1, "{batches}");
        // Two values each, two of the demo's customer, and the company's own.
        assert!(sealed >= 2 * count as u64 + 2, "{sealed}");
        let status = status(&server).await.unwrap();
        assert_eq!((status.generations.len(), status.all - status.done), (1, 0));
        assert_eq!(advance(&instance, &ctx(), batch).await.unwrap(), Done::Nothing);
        eprintln!(
            "{sealed} values in {batches} batches: {:.1} s, {used:.1} s of a processor, the longest {:.2} s; \
         {closed} connections closed meanwhile",
            working.as_secs_f64(),
            longest.as_secs_f64()
        );
    }

    /// The same seals and the same values; only what they hang on is another.
    #[tokio::test]
    async fn names_and_secrets_are_what_they_were() {
        let home = Home::new();
        let instance = furnished(&home, 3).await;
        let names = async |instance: &Instance| {
            let listed = customers::list(instance).await.unwrap();
            listed.into_iter().map(|one| (one.id, one.name, one.values)).collect::<Vec<_>>()
        };
        let before = names(&instance).await;
        begin(&instance, &ctx()).await.unwrap();
        // A customer of between: it is under the new generation already.
        let late = ctx();
        let mut changing = Changing::begin(&instance, &late, Care::Whole).await.unwrap();
        let made = customers::find_or_create(&instance, &mut changing.tx, &late, "late").await;
        assert_eq!(made.unwrap().key.generation(), 2);
        drop(changing);
        while advance(&instance, &ctx(), 1).await.unwrap() != Done::Nothing {}
        assert_eq!(names(&instance).await, before);
        // A start has nothing but the new one.
        let again = home.open().await.unwrap();
        assert_eq!(again.keyring().numbers().collect::<Vec<_>>(), [2]);
        assert_eq!(names(&again).await, before);
        assert!(again.secrets == instance.secrets);
        crate::sequence::settle(&again).await.unwrap();
    }

    #[tokio::test]
    async fn one_node_does_the_work_until_it_is_silent() {
        let home = Home::new();
        let one = home.init().await;
        let mut other = home.open().await.unwrap();
        other.origin.push_str("/another");
        let (mut ours, mut theirs) = (Turn::default(), Turn::default());
        assert!(ours.take(&one, true).await.unwrap(), "nobody did it before");
        theirs.look(&other).await.unwrap();
        assert!(!theirs.take(&other, true).await.unwrap(), "somebody does it");
        assert!(ours.take(&one, true).await.unwrap(), "it is kept");
        // They moved since the other looked: it does not take what is at work.
        assert!(!theirs.take(&other, false).await.unwrap());
        assert!(theirs.look(&other).await.unwrap(), "they moved");
        assert!(!theirs.look(&other).await.unwrap(), "they are silent");
        assert!(!theirs.take(&other, true).await.unwrap(), "not yet");
        assert!(theirs.take(&other, false).await.unwrap(), "silent for long");
        ours.look(&one).await.unwrap();
        assert!(!ours.take(&one, true).await.unwrap(), "it is the other's now");
    }
}
