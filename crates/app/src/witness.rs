//! Nodes that witness each other's audit logs. Each asks all others, through the store, to cosign its
//! checkpoints, and cosigns of theirs what extends all that it saw before (`audit::witness`).
//!
//! What a node saw, and the key that it cosigns with, lie in its own folder and nowhere else: who
//! holds another node's folder, the database and the root key can neither make it forget nor sign in
//! its name. The store carries texts between them, and is believed nothing.

use crate::{
    customers,
    error::Error,
    folder::{DataFolder, make_private_dir, put, read_if_there},
    generations,
    instance::{Instance, SELF_CUSTOMER},
};
use audit::{
    AddCheckpoint, Checkpoint, Cosigned, CosigningKey, Handle, MAX_REQUEST_BYTES, Signed,
    VerifierKey, WitnessKey, WitnessRefusal, consistency,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use store::{SealedRow, WitnessAnswer, WitnessRow};
use types::{Id, SecretBytes};
use vault::CustomerKey;

const TABLE: &str = "witness";
const SEED: &str = "seed";
const KEY_FILE: &str = "key";

/// One node, as a log that asks and as a witness that answers.
#[derive(Debug)]
pub struct Peers {
    instance: Arc<Instance>,
    log: VerifierKey,
    /// How often a witness is asked at most.
    every: Duration,
    /// Made when there is somebody to witness.
    key: Option<CosigningKey>,
    logs: BTreeMap<String, VerifierKey>,
    asked: BTreeMap<String, Asked>,
}

/// What a witness was asked last.
#[derive(Debug)]
struct Asked {
    at: Instant,
    old: u64,
    note: String,
}

/// What a round found.
#[derive(Debug, Default)]
pub struct Round {
    /// Whether there is another node.
    pub has_witnesses: bool,
    /// When the newest checkpoint that another node cosigned was this log's newest.
    pub current_at: Option<Instant>,
    /// Logs of which this node was shown a second history, each with why it was not cosigned.
    pub refused: Vec<(String, WitnessRefusal)>,
    /// Witnesses that hold another history of this log, or answer with another key than before.
    pub contradicted: Vec<String>,
}

impl Peers {
    pub fn new(instance: Arc<Instance>, every: Duration) -> Result<Self, Error> {
        let log = instance.signing_key()?.verifier().clone();
        let (key, logs, asked) = (None, BTreeMap::new(), BTreeMap::new());
        Ok(Self { instance, log, every, key, logs, asked })
    }

    /// Answers what others ask, and asks them.
    pub async fn round(&mut self, handle: &Handle) -> Result<Round, Error> {
        let mut round = Round::default();
        let own = self.instance.origin.clone();
        let rows = self.instance.store.witnesses().await?;
        for row in rows.iter().filter(|row| row.witness == own && row.status.is_none()) {
            if let Err(refusal) = self.answer(row).await?
                && refusal.is_of_two_histories()
            {
                round.refused.push((row.origin.clone(), refusal));
            }
        }
        let logs = self.instance.store.audit_checkpoints().await?;
        let Some(signed) = handle.checkpoint() else { return Ok(round) };
        for (witness, _) in logs.into_iter().filter(|(origin, _)| *origin != own) {
            round.has_witnesses = true;
            let row = rows.iter().find(|row| row.origin == own && row.witness == witness);
            self.ask(&witness, row, &signed, &mut round).await?;
        }
        Ok(round)
    }

    /// Decides on what another log asks of this node, and says so.
    async fn answer(&mut self, row: &WitnessRow) -> Result<Result<(), WitnessRefusal>, Error> {
        let seen_file = self.instance.folder.witness().join(file_name(&row.origin));
        let log = match self.log_of(&row.origin).await {
            Ok(log) => log,
            // A name that somebody wrote there.
            Err(Error::AuditUnknown { .. } | Error::NodeUnknown { .. }) => return Ok(Ok(())),
            Err(error) => return Err(error),
        };
        let key = self.key().await?.verifier().to_string();
        let seen = read_if_there(&seen_file)?;
        let seen: Option<Checkpoint> = match seen.map(|note| log.open(&note)).transpose() {
            Ok(seen) => seen,
            // A key that does not open what was seen is another one: somebody made a second log.
            Err(_) => return self.say(row, key, Err(WitnessRefusal::OtherKey), 0).await,
        };
        let now = self.instance.clock.now();
        let decided = match row.request.parse::<AddCheckpoint>() {
            Err(_) => Err(WitnessRefusal::Malformed),
            Ok(request) => audit::witness(&log, seen.as_ref(), &request, self.key().await?, now),
        };
        if let Ok(cosigned) = &decided {
            make_private_dir(&self.instance.folder.witness())?;
            put(&seen_file, cosigned.seen.as_bytes())?;
        }
        self.say(row, key, decided, seen.map_or(0, |seen| seen.size)).await
    }

    /// Puts an answer into the store; what it says is on disk by then.
    async fn say(
        &self,
        row: &WitnessRow,
        key: String,
        decided: Result<Cosigned, WitnessRefusal>,
        seen: u64,
    ) -> Result<Result<(), WitnessRefusal>, Error> {
        let answer = match &decided {
            Ok(cosigned) => {
                let note = format!("{}{}", cosigned.seen, cosigned.line);
                let size = cosigned.checkpoint.size;
                WitnessAnswer { status: 200, size, key, cosigned: Some(note) }
            }
            Err(refusal) => {
                let size = refusal.size().unwrap_or(seen);
                WitnessAnswer { status: refusal.status(), size, key, cosigned: None }
            }
        };
        self.instance.store.answer_witness(row, &answer).await?;
        Ok(decided.map(drop))
    }

    /// Takes a witness's last answer, and asks it for what is new.
    async fn ask(
        &mut self,
        witness: &str,
        row: Option<&WitnessRow>,
        signed: &Signed,
        round: &mut Round,
    ) -> Result<(), Error> {
        let (now, size) = (Instant::now(), signed.checkpoint.size);
        let mut old = 0;
        if let Some(row) = row {
            match self.take(row)? {
                Taken::Nothing => {}
                Taken::Cosigned(note) => {
                    let asked =
                        self.asked.get(witness).filter(|asked| note.starts_with(&asked.note));
                    let at = if note.starts_with(&signed.note) {
                        Some(now)
                    } else {
                        asked.map(|asked| asked.at)
                    };
                    round.current_at = round.current_at.max(at);
                    if at == Some(now) {
                        return Ok(());
                    }
                }
                Taken::OtherKey => round.contradicted.push(witness.to_owned()),
            }
            if row.status.is_none() {
                return Ok(());
            }
            old = row.size;
            let asked = self.asked.get(witness);
            // Where it stands is news, and no reason to wait; unless it was asked from there.
            let is_known = asked.is_some_and(|asked| asked.old == old);
            let is_news = row.status == Some(409) && !is_known;
            let is_of_two =
                row.status == Some(422) || old > size || (row.status == Some(409) && is_known);
            if is_of_two {
                round.contradicted.push(witness.to_owned());
            }
            let is_early = asked.is_some_and(|asked| now.duration_since(asked.at) < self.every);
            if is_early && (is_of_two || !is_news) {
                return Ok(());
            }
        }
        let (dir, up_to) = (self.instance.folder.audit(), old.min(size));
        // A witness that saw more than there is gets no proof, and says so.
        let proof = consistency(&dir, up_to, size)?;
        let request = AddCheckpoint { old: up_to, proof, checkpoint: signed.note.clone() };
        self.instance
            .store
            .ask_witness(&self.instance.origin, witness, &request.to_string())
            .await?;
        self.asked
            .insert(witness.to_owned(), Asked { at: now, old: up_to, note: signed.note.clone() });
        Ok(())
    }

    /// Keeps what a witness cosigned.
    fn take(&self, row: &WitnessRow) -> Result<Taken, Error> {
        let (Some(key), Some(note)) = (&row.key, &row.cosigned) else { return Ok(Taken::Nothing) };
        if note.len() > MAX_REQUEST_BYTES {
            return Ok(Taken::Nothing);
        }
        let Ok(key) = key.parse::<WitnessKey>() else { return Ok(Taken::Nothing) };
        if self.log.open(note).is_err() || key.check(note).is_err() {
            return Ok(Taken::Nothing);
        }
        let dir = self.instance.folder.cosigned();
        let file = dir.join(file_name(&row.witness));
        let pinned = dir.join(format!("{}.pub", file_name(&row.witness)));
        match read_if_there(&pinned)? {
            Some(known) if known.trim() != key.to_string() => return Ok(Taken::OtherKey),
            Some(_) => {}
            None => {
                make_private_dir(&dir)?;
                put(&pinned, format!("{key}\n").as_bytes())?;
            }
        }
        if read_if_there(&file)?.as_ref() != Some(note) {
            put(&file, note.as_bytes())?;
        }
        Ok(Taken::Cosigned(note.clone()))
    }

    async fn log_of(&mut self, origin: &str) -> Result<VerifierKey, Error> {
        if let Some(known) = self.logs.get(origin) {
            return Ok(known.clone());
        }
        let everything = self.instance.store.load_all().await?;
        let key = self.instance.key_of_log(&everything, origin)?.verifier().clone();
        self.logs.insert(origin.to_owned(), key.clone());
        Ok(key)
    }

    /// The key that this node cosigns with: made here, and never anywhere else.
    async fn key(&mut self) -> Result<&CosigningKey, Error> {
        let key = match self.key.take() {
            Some(key) => key,
            None => self.open_key().await?,
        };
        Ok(self.key.insert(key))
    }

    async fn open_key(&self) -> Result<CosigningKey, Error> {
        let instance = &self.instance;
        let everything = instance.store.load_all().await?;
        let lookup = instance.secrets.pepper.lookup_digest(customers::LOOKUP_KIND, SELF_CUSTOMER);
        let missing = Error::Internal { what: "the installation's own customer is missing" };
        let own = everything.customers.iter().find(|row| row.lookup == lookup).ok_or(missing)?;
        let own = customers::open(instance, own)?;
        let record = instance.node.map_or(instance.id.to_bytes(), Id::to_bytes);
        let file = instance.folder.witness().join(KEY_FILE);
        let seed = if let Some(text) = read_if_there(&file)? {
            let malformed = || Error::WitnessKey { path: file.clone() };
            let sealed = STANDARD.decode(text.trim()).map_err(|_| malformed())?;
            let under = |key: &CustomerKey| SealedRow {
                table: TABLE.to_owned(),
                record,
                column: SEED.to_owned(),
                customer: key.customer(),
                version: 1,
                generation: key.generation(),
                sealed: sealed.clone(),
            };
            if let Ok(seed) = instance.open_sealed(&own.key, &under(&own.key)) {
                seed
            } else {
                // The company's own key is another one since a rotation: the file follows it.
                let former =
                    generations::former_keys(instance, &everything.sealed, (own.id, &own.key))?;
                let mut opened =
                    former.iter().filter_map(|key| instance.open_sealed(key, &under(key)).ok());
                let seed = opened.next().ok_or_else(malformed)?;
                let row = instance.seal(&own.key, TABLE, &record, SEED, &seed)?;
                put(&file, format!("{}\n", STANDARD.encode(row.sealed)).as_bytes())?;
                seed
            }
        } else {
            let mut seed = vec![0; 32];
            instance.random.fill(&mut seed)?;
            let seed = SecretBytes::new(seed);
            let row = instance.seal(&own.key, TABLE, &record, SEED, &seed)?;
            make_private_dir(&instance.folder.witness())?;
            put(&file, format!("{}\n", STANDARD.encode(row.sealed)).as_bytes())?;
            seed
        };
        let name = format!("{}/witness", instance.origin);
        let key = CosigningKey::from_seed(seed.expose(), &name)
            .map_err(|_| Error::WitnessKey { path: file })?;
        let public = format!("{}\n", key.verifier());
        let place = instance.folder.witness_key();
        if read_if_there(&place)?.as_ref() != Some(&public) {
            put(&place, public.as_bytes())?;
        }
        Ok(key)
    }
}

enum Taken {
    Nothing,
    Cosigned(String),
    OtherKey,
}

/// Names of logs are no paths.
fn file_name(origin: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '+' };
    origin.chars().map(plain).collect()
}

/// Keeps a checkpoint that a witness cosigned, by a name of its own.
pub fn keep_cosigned(folder: &DataFolder, name: &str, note: &str) -> Result<(), Error> {
    make_private_dir(&folder.cosigned())?;
    put(&folder.cosigned().join(file_name(name)), note.as_bytes())
}

/// The checkpoints of a folder's log that others cosigned, the newest of each.
pub fn cosigned(folder: &DataFolder) -> Result<Vec<String>, Error> {
    let dir = folder.cosigned();
    let failed = |source| Error::Unreadable { path: dir.clone(), source };
    let files = match std::fs::read_dir(&dir) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut paths: Vec<PathBuf> =
        files.map(|file| file.map(|file| file.path()).map_err(failed)).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_none());
    paths.sort();
    paths.iter().filter_map(|path| read_if_there(path).transpose()).collect()
}
