//! Smart http: with TLS and a password on nginx, and from servers that hang, lie and redirect.

use std::path::Path;
use std::time::Duration;

use holdfast_repo::{Mirror, Settings};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::{Daemon, Upstream, command, eventually, free_port, have, install, run};

const NGINX: &str = "/usr/sbin/nginx";
const FCGIWRAP: &str = "/usr/sbin/fcgiwrap";
const BACKEND: &str = "/usr/lib/git-core/git-http-backend";

/// nginx with TLS and a password in front of `git-http-backend`.
struct Server {
    upstream: Upstream,
    port: u16,
    _daemons: [Daemon; 2],
}

impl Server {
    async fn start() -> Option<Self> {
        install();
        if !have(&[NGINX, FCGIWRAP, BACKEND, "/usr/bin/openssl"]) {
            return None;
        }
        let upstream = Upstream::new();
        let folder = upstream.folder.path().to_owned();
        certificates(&folder);
        let hash = run(command("openssl").args(["passwd", "-apr1", "s3cret"]));
        std::fs::write(folder.join("htpasswd"), format!("bot:{hash}\n")).unwrap();
        let port = free_port();
        std::fs::write(folder.join("nginx.conf"), config(&folder, port)).unwrap();
        let socket = folder.join("fcgi.sock");
        let fcgi = Daemon::start(command(FCGIWRAP).arg("-s").arg(format!("unix:{}", socket.display())));
        eventually("fcgiwrap listens", || socket.exists()).await;
        let nginx = Daemon::start(
            command(NGINX).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log")),
        );
        let open = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        eventually("nginx listens", open).await;
        Some(Self { upstream, port, _daemons: [nginx, fcgi] })
    }

    fn settings(&self) -> Settings {
        let mut settings = self.upstream.settings(&format!("https://127.0.0.1:{}/infra.git", self.port));
        settings.username = Some("bot".to_owned());
        settings.secret = Some(SecretString::from("s3cret"));
        settings.ca_pem = Some(std::fs::read(self.upstream.folder.path().join("ca.crt")).unwrap());
        settings
    }

    /// The git requests so far, as nginx logged them.
    fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.upstream.folder.path().join("access.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("HTTP/")).map(str::to_owned).collect()
    }
}

/// An authority, and a certificate for 127.0.0.1 that it signed.
fn certificates(folder: &Path) {
    let openssl = |args: &[&str]| run(command("openssl").args(args).current_dir(folder));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    openssl(
        &[
            &["req", "-x509", "-days", "2", "-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.crt"],
            &curve[..],
        ]
        .concat(),
    );
    openssl(
        &[&["req", "-subj", "/CN=127.0.0.1", "-keyout", "tls.key", "-out", "tls.csr"], &curve[..]].concat(),
    );
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        "tls.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "san",
        "-out",
        "tls.crt",
    ]);
}

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "pid {folder}/nginx.pid; worker_processes 1; daemon off; master_process off; events {{}}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp;
  fastcgi_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;
    location / {{
      auth_basic git; auth_basic_user_file {folder}/htpasswd; fastcgi_pass unix:{folder}/fcgi.sock;
      fastcgi_param SCRIPT_FILENAME {BACKEND}; fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol; fastcgi_param PATH_INFO $uri;
      fastcgi_param GIT_PROJECT_ROOT {folder}/repos; fastcgi_param GIT_HTTP_EXPORT_ALL 1;
    }} }} }}"
    )
}

#[tokio::test]
async fn an_unchanged_repository_costs_one_round_trip() {
    let Some(server) = Server::start().await else { return };
    let first = server.upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = Mirror::new(&server.settings()).unwrap();
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    eventually("the first fetch is logged", || server.requests().len() >= 2).await;
    let before = server.requests().len();
    assert_eq!(before, 2, "the references, then the objects: {:?}", server.requests());
    for _ in 0..3 {
        assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    }
    eventually("the polls are logged", || server.requests().len() >= before + 3).await;
    assert_eq!(server.requests().len(), before + 3, "{:?}", server.requests());

    let mut head = first.clone();
    for n in 0..30 {
        head = server.upstream.commit(&[("holdfast.yaml", &n.to_string())]);
    }
    assert_eq!(mirror.fetch().await, Ok(Some(head.clone())));
    assert_eq!(mirror.descends(&first, &head).await, Ok(true));
    server.upstream.git(&["reset", "-q", "--hard", first.as_str()]);
    let other = server.upstream.commit(&[("holdfast.yaml", "other")]);
    assert_eq!(mirror.fetch().await, Ok(Some(other.clone())));
    assert_eq!(mirror.tree(&other).await.unwrap().files["holdfast.yaml"], b"other");
}

#[tokio::test]
async fn an_empty_repository_is_none_over_http() {
    let Some(server) = Server::start().await else { return };
    let mirror = Mirror::new(&server.settings()).unwrap();
    assert_eq!(mirror.fetch().await, Ok(None));
}

#[tokio::test]
async fn refusals_say_what_to_do_and_show_no_credential() {
    let Some(server) = Server::start().await else { return };
    server.upstream.commit(&[("holdfast.yaml", "a")]);
    let refused = async |change: fn(&mut Settings)| {
        let mut settings = server.settings();
        change(&mut settings);
        let error = Mirror::new(&settings).unwrap().fetch().await.unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
        let text = error.to_string();
        assert!(!text.contains("hunter2") && !text.contains("s3cret"), "{text}");
        text.replace(&format!("fetching https://127.0.0.1:{}/", server.port), "")
    };
    assert_eq!(
        refused(|settings| settings.secret = Some(SecretString::from("hunter2"))).await,
        "infra.git: the server refused the credential: check `username` and `credential`"
    );
    assert_eq!(
        refused(|settings| settings.secret = None).await,
        "infra.git: the server asks for a credential: set `credential`"
    );
    assert_eq!(
        refused(|settings| settings.url = settings.url.replace("infra", "other")).await,
        "other.git: the repository was not found: check `url`, and that the credential may read it"
    );
    let untrusted = refused(|settings| settings.ca_pem = None).await;
    assert!(untrusted.contains("certificate is not trusted"), "{untrusted}");
    assert!(untrusted.contains("set `ca`"), "{untrusted}");
}

#[tokio::test]
async fn another_authority_is_not_trusted() {
    let Some(server) = Server::start().await else { return };
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let mut settings = server.settings();
    settings.ca_pem = Some(std::fs::read(other.path().join("ca.crt")).unwrap());
    let error = Mirror::new(&settings).unwrap().fetch().await.unwrap_err();
    assert!(error.to_string().contains("certificate is not trusted"), "{error}");
    assert_eq!(server.requests(), Vec::<String>::new(), "nothing was sent");
}

#[tokio::test]
async fn nobody_listens_is_worth_another_try() {
    let upstream = Upstream::new();
    install();
    let url = format!("http://127.0.0.1:{}/infra.git", free_port());
    let error = Mirror::new(&upstream.settings(&url)).unwrap().fetch().await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("the server cannot be reached"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Answers every connection with the same bytes; then closes it, or says nothing more.
async fn liar(answer: &'static str, close: bool) -> (String, tokio::task::JoinHandle<()>) {
    install();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/infra.git", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _read = socket.read(&mut request).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            if !close {
                held.push(socket);
            }
        }
    });
    (url, task)
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hang_the_service() {
    let upstream = Upstream::new();
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\
                content-length: 1000\r\n\r\n001e# service=git-upload-pack\n0000";
    for answer in ["", half] {
        let (url, _task) = liar(answer, false).await;
        let mirror = Mirror::new(&upstream.settings(&url)).unwrap().with_deadline(Duration::from_millis(500));
        for _ in 0..2 {
            let start = Instant::now();
            let error = mirror.fetch().await.unwrap_err();
            assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
            assert!(error.is_unavailable());
            assert!(error.to_string().ends_with("the server did not answer in time"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_cut_list_of_references_is_no_empty_repository() {
    let upstream = Upstream::new();
    let head = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-advertisement\r\n\
               connection: close\r\n\r\n001e# service=git-upload-pack\n0000";
    let (url, _task) = liar(cut, true).await;
    let cut = Mirror::new(&upstream.settings(&url)).unwrap();
    let error = cut.fetch().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(upstream.mirrored().join("refs/heads/main").is_file(), "nothing was pruned");
    assert_eq!(mirror.fetch().await, Ok(Some(head)));
}

#[tokio::test]
async fn answers_that_are_not_gits_are_told_apart() {
    let upstream = Upstream::new();
    for (answer, expected, unavailable) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nhey\n",
            "the answer is not that of a git server: check `url`",
            false,
        ),
        ("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", "the server answered 503", true),
        ("HTTP/1.1 418 Tea\r\ncontent-length: 0\r\n\r\n", "the server answered 418: check `url`", false),
        (
            "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n",
            "the server refused access: the credential needs to read the repository",
            false,
        ),
    ] {
        let (url, _task) = liar(answer, true).await;
        let error = Mirror::new(&upstream.settings(&url)).unwrap().fetch().await.unwrap_err();
        assert_eq!(error.to_string(), format!("fetching {url}: {expected}"));
        assert_eq!(error.is_unavailable(), unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let upstream = Upstream::new();
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2:9/steal?a=b\r\ncontent-length: 0\r\n\r\n";
    let (url, _task) = liar(answer, true).await;
    let mut settings = upstream.settings(&url);
    settings.secret = Some(SecretString::from("hunter2"));
    let error = Mirror::new(&settings).unwrap().fetch().await.unwrap_err();
    assert!(!error.is_unavailable());
    assert_eq!(
        error.to_string(),
        format!(
            "fetching {url}: the server redirects to http://127.0.0.2:9, and the credential is not sent there: \
             write the new address as `url`"
        )
    );
}
