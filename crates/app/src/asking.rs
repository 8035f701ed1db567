//! Questions that the control plane asks servers elsewhere, by the one guarded HTTP client.
//!
//! Connections belong to a thread: one thread asks for everybody, and keeps connections for a while.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use outbound::{
    Deadlines, GuardPolicy, OutboundError, Pool, PoolConfig, Resolve, Target, TlsConfig,
};
use std::{fmt, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// Questions that may wait for the thread.
const MAX_WAITING: usize = 256;
/// Idle connections that are kept.
const MAX_IDLE: usize = 64;

/// One request.
pub(crate) struct Question {
    pub target: Target,
    pub policy: GuardPolicy,
    pub method: Method,
    pub path_and_query: Zeroizing<String>,
    pub headers: Vec<(String, Zeroizing<Vec<u8>>)>,
    pub body: Zeroizing<Vec<u8>>,
}

/// What came back, whole.
pub(crate) struct Answered {
    pub status: u16,
    /// Names in lower case; values that are no text are left out.
    pub headers: Vec<(String, Zeroizing<String>)>,
    pub body: Zeroizing<Vec<u8>>,
}

type Asked = (Question, oneshot::Sender<Result<Answered, OutboundError>>);

/// Whoever asks. Cloning shares the thread, which ends with the last of them.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Asked>);

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("nobody asks any more")]
    Stopped,
}

impl Asker {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says where it gives no thread.
    pub fn start(
        resolver: Arc<dyn Resolve>,
        tls: Arc<TlsConfig>,
        max_answer_bytes: u64,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let config =
            PoolConfig { max_idle: MAX_IDLE, max_answer_bytes, ..PoolConfig::new(resolver, tls) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("asking".to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serve(Rc::new(Pool::new(config)), receiver));
        })?;
        Ok(Self(sender))
    }

    pub(crate) async fn ask(&self, question: Question) -> Result<Answered, AskError> {
        let (answer, answered) = oneshot::channel();
        self.0.send((question, answer)).await.map_err(|_| AskError::Stopped)?;
        Ok(answered.await.map_err(|_| AskError::Stopped)??)
    }
}

async fn serve(pool: Rc<Pool>, mut receiver: mpsc::Receiver<Asked>) {
    while let Some((question, answer)) = receiver.recv().await {
        let pool = Rc::clone(&pool);
        tokio::task::spawn_local(async move {
            let answered = answer_of(&pool, question).await;
            // Whoever asked may have gone.
            let _ = answer.send(answered);
        });
    }
}

async fn answer_of(pool: &Pool, question: Question) -> Result<Answered, OutboundError> {
    let seconds = Duration::from_secs;
    let deadlines = Deadlines {
        head: seconds(15),
        idle: seconds(5),
        total: seconds(20),
        ..Deadlines::default()
    };
    let mut request = Request::new(Full::new(Bytes::from_owner(question.body)));
    *request.method_mut() = question.method;
    *request.uri_mut() = Uri::try_from(question.path_and_query.as_str()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        let unsendable = |what| OutboundError::Unsendable { what };
        let name = HeaderName::from_bytes(name.as_bytes());
        let mut value = HeaderValue::from_bytes(value).map_err(|_| unsendable("a header"))?;
        value.set_sensitive(true);
        headers.insert(name.map_err(|_| unsendable("a header"))?, value);
    }
    *request.headers_mut() = headers;
    let lease = pool.checkout(&question.target, &question.policy, &deadlines).await?;
    let response = lease.send(request).await?;
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .filter_map(|(name, value)| {
            let value = Zeroizing::new(value.to_str().ok()?.to_owned());
            Some((name.as_str().to_owned(), value))
        })
        .collect();
    let mut wire = response.into_body();
    let mut body = Zeroizing::new(Vec::with_capacity(16 * 1024));
    while let Some(chunk) = wire.next_chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, headers, body })
}
