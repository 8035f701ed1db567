//! A log in a folder of its own.

use audit::{
    Changed, Commitment, Durability, FolderLock, Handle, Intent, Log, LogConfig, OpenError, Opened,
    Outcome, Record, Report, SigningKey, VaultHead, VerifierKey, VerifyError, VerifyOptions,
    verify,
};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;
use types::{Action, Environment, Id, SystemClock, Timestamp};

pub const ORIGIN: &str = "weirgate/inst_test";

pub struct World {
    pub home: TempDir,
}

impl World {
    pub fn new() -> Self {
        // In memory where that exists: a test syncs often, and what a disk loses is tried elsewhere.
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { home: home.unwrap() }
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("audit")
    }

    pub fn hint(&self) -> PathBuf {
        self.home.path().join("hint")
    }

    pub fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32], ORIGIN).unwrap()
    }

    pub fn verifier() -> VerifierKey {
        Self::key().verifier().clone()
    }

    /// A log without entries.
    pub fn create(&self) -> String {
        Log::create(&self.dir(), &Self::key(), None).unwrap()
    }

    pub fn config(&self) -> LogConfig {
        LogConfig {
            lock: FolderLock::take(self.home.path()).unwrap().unwrap(),
            dir: self.dir(),
            hint_file: self.hint(),
            key: Self::key(),
            clock: Arc::new(SystemClock),
            origin: ORIGIN.into(),
            kept: None,
            configuration: None,
            reserve: None,
        }
    }

    pub fn try_open(&self) -> Result<Opened, OpenError> {
        Log::open(self.config())
    }

    pub fn open(&self) -> Opened {
        self.try_open().unwrap()
    }

    /// A closed log of `calls` calls and a change.
    pub fn filled(calls: u128) -> Self {
        let world = Self::new();
        world.create();
        let opened = world.open();
        let handle = opened.log.handle();
        fill(&handle, 0..calls);
        handle.append(&changed(1), Durability::Synced).unwrap().wait().unwrap();
        opened.log.close().unwrap();
        world
    }

    pub fn verify(&self) -> Result<Report, VerifyError> {
        verify::verify(&self.dir(), &Self::verifier(), &VerifyOptions::default())
    }

    pub fn records(&self) -> Vec<Record> {
        let mut listed = verify::list(&self.dir(), usize::MAX).unwrap();
        listed.reverse();
        for (place, (index, _)) in listed.iter().enumerate() {
            assert_eq!(*index, place as u64);
        }
        listed.into_iter().map(|(_, record)| record).collect()
    }
}

pub fn fill(handle: &Handle, calls: std::ops::Range<u128>) {
    let mut tickets = Vec::new();
    for number in calls {
        for record in [intent(number), outcome(number)] {
            tickets.push(handle.append(&record, Durability::NextGroup).unwrap());
        }
    }
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

pub fn intent(number: u128) -> Record {
    Record::Intent(Intent {
        request: Id::from_u128(number),
        at: Timestamp::from_micros(1_700_000_000_000_000),
        environment: Environment::Live,
        key: Id::from_u128(2),
        client: Id::from_u128(3),
        connection: Id::from_u128(4),
        customer: Commitment::new(&[5; 32], b"Acme"),
        provider: Id::from_u128(6),
        operation: "list_employees".into(),
        action: Action::Read,
        object: Some("Employee".into()),
        generation: 7,
        is_safe_method: true,
        network: None,
    })
}

pub fn outcome(number: u128) -> Record {
    Record::Outcome(Outcome {
        request: Id::from_u128(number),
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
        attempts: None,
        duration_us: 900,
    })
}

pub fn changed(sequence: u64) -> Record {
    Record::Changed(Changed {
        event: u128::from(sequence).to_be_bytes(),
        at: Timestamp::from_micros(1),
        request: Id::from_u128(1),
        actor: "local:0".into(),
        verb: "connection.create".into(),
        what: "connection conn_x".into(),
        details: Vec::new(),
        customer: None,
        vault_head: Some(VaultHead { count: sequence, root: [sequence as u8; 32], sequence }),
        previous_head: None,
    })
}
