use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, crypto::aws_lc_rs,
    pki_types::ServerName,
};
use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};
use testkit::{Answer, End, FaultyProvider, TlsOptions};

/// Everything that comes for one GET, and the protocol version.
fn get(
    provider: &FaultyProvider,
    name: &'static str,
) -> io::Result<(String, Option<ProtocolVersion>)> {
    let mut roots = RootCertStore::empty();
    roots.add(provider.root_der().unwrap().to_vec().into()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(provider.addr())?);
    stream.write_all(b"GET /end HTTP/1.1\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok((text, stream.conn.protocol_version()))
}

#[test]
fn a_client_that_trusts_the_authority_is_served() {
    let provider = FaultyProvider::start_tls().unwrap();
    assert!(provider.url().starts_with("https://localhost:"));
    assert_eq!(provider.host_port(), format!("localhost:{}", provider.addr().port()));
    assert!(provider.root_pem().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    provider.on("/end", Answer::json_text(200, "{}").end(End::Close));
    for name in ["localhost", "127.0.0.1"] {
        let (text, version) = get(&provider, name).unwrap();
        assert!(text.ends_with("\r\n\r\n{}"), "{text}");
        assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    }
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn an_end_without_goodbye_is_seen_as_a_cut() {
    let provider = FaultyProvider::start_tls().unwrap();
    provider.on("/end", Answer::json_text(200, "{}").end(End::Drop));
    assert_eq!(get(&provider, "localhost").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    provider.on("/end", Answer::json_text(200, "{}").end(End::Reset));
    assert!(get(&provider, "localhost").is_err());
}

#[test]
fn bad_certificates_are_bad() {
    let expired =
        FaultyProvider::start_tls_with(&TlsOptions { is_expired: true, ..Default::default() });
    assert!(get(&expired.unwrap(), "localhost").unwrap_err().to_string().contains("expired"));
    let other = TlsOptions { names: vec!["api.example".into()], ..Default::default() };
    let other = FaultyProvider::start_tls_with(&other).unwrap();
    assert!(get(&other, "localhost").unwrap_err().to_string().contains("not valid for name"));
    assert!(other.requests().is_empty());
}

#[test]
fn an_old_server_offers_no_new_protocol() {
    let old = TlsOptions { is_tls12_only: true, ..Default::default() };
    let old = FaultyProvider::start_tls_with(&old).unwrap();
    old.on("/end", Answer::json_text(200, "{}").end(End::Close));
    let (_, version) = get(&old, "localhost").unwrap();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
}
