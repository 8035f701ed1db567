//! What logs ask other nodes to cosign, and what these say. It is no change that a Snapshot shows: the
//! generation stays.

use crate::{
    Store, StoreError,
    dialect::sql,
    rows::{FromRow, Reader},
};

/// One log and one witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRow {
    pub origin: String,
    /// By the name of its own log.
    pub witness: String,
    pub request: String,
    /// The answer to the request; `None` while there is none.
    pub status: Option<u16>,
    /// What the witness saw last.
    pub size: u64,
    /// The witness's public key; `None` until it has answered once.
    pub key: Option<String>,
    /// The newest checkpoint that it cosigned.
    pub cosigned: Option<String>,
}

impl FromRow for WitnessRow {
    const TABLE: &'static str = "audit_witness";
    const ALL: &'static str = "SELECT origin, witness, request, status, size, witness_key, cosigned
        FROM audit_witness ORDER BY origin, witness";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            origin: row.text("origin")?,
            witness: row.text("witness")?,
            request: row.text("request")?,
            status: row.optional_number("status")?,
            size: row.number("size")?,
            key: row.optional_text("witness_key")?,
            cosigned: row.optional_text("cosigned")?,
        })
    }
}

/// What a witness says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAnswer {
    pub status: u16,
    pub size: u64,
    pub key: String,
    /// `None` leaves the last one in place.
    pub cosigned: Option<String>,
}

impl Store {
    /// Everything that was asked of anybody.
    pub async fn witnesses(&self) -> Result<Vec<WitnessRow>, StoreError> {
        let rows = self.readers().all(sql(WitnessRow::ALL)).await?;
        rows.iter().map(WitnessRow::from_row).collect()
    }

    /// Asks a witness for a log, in place of what was asked before.
    pub async fn ask_witness(
        &self,
        origin: &str,
        witness: &str,
        request: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.writer().begin_aside().await?;
        tx.execute(sql(ASK).bind(origin).bind(witness).bind(request)).await?;
        tx.commit().await
    }

    /// Answers a request, unless another took its place meanwhile.
    pub async fn answer_witness(
        &self,
        asked: &WitnessRow,
        answer: &WitnessAnswer,
    ) -> Result<(), StoreError> {
        let statement = sql(ANSWER)
            .bind(asked.origin.as_str())
            .bind(asked.witness.as_str())
            .bind(asked.request.as_str())
            .bind(i64::from(answer.status))
            .bind(i64::try_from(answer.size).unwrap_or(i64::MAX))
            .bind(answer.key.as_str())
            .bind(answer.cosigned.clone());
        let mut tx = self.writer().begin_aside().await?;
        tx.execute(statement).await?;
        tx.commit().await
    }
}

const ASK: &str =
    "INSERT INTO audit_witness (origin, witness, request, size) VALUES ($1, $2, $3, 0)
    ON CONFLICT (origin, witness) DO UPDATE SET request = $3, status = NULL";
const ANSWER: &str = "UPDATE audit_witness SET status = $4, size = $5, witness_key = $6,
    cosigned = COALESCE($7, cosigned) WHERE origin = $1 AND witness = $2 AND request = $3";
