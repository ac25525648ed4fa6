//! Real git servers for one repository: `git http-backend` behind nginx with TLS and passwords, and git over sshd.

use std::path::{Path, PathBuf};

use holdfast_lab::git::{Repository, git};

use crate::daemon::{Daemon, free_port, run};
use crate::eventually;

pub(crate) const NGINX: &str = "/usr/sbin/nginx";
pub(crate) const FCGIWRAP: &str = "/usr/sbin/fcgiwrap";
pub(crate) const BACKEND: &str = "/usr/lib/git-core/git-http-backend";
pub(crate) const SSHD: &str = "/usr/sbin/sshd";

/// Who may read over https, and the password.
const READER: (&str, &str) = ("holdfast", "a-token-that-may-read");
/// Who may also push.
const WRITER: (&str, &str) = ("me", "a-password-that-may-push");

/// A bare repository behind a server, and a working copy that pushes through it. Dropping it ends the server.
pub(crate) struct GitServer {
    pub(crate) repository: Repository,
    /// What the service's config says of it, but for the credential.
    pub(crate) config: String,
    /// A token, or a private key, that may read.
    pub(crate) credential: String,
    folder: PathBuf,
    _servers: Vec<Daemon>,
}

impl GitServer {
    /// nginx with TLS of an authority of its own. Everything is in `folder`.
    pub(crate) async fn https(folder: &Path) -> Self {
        let repository = repository(folder);
        git(repository.bare(), &["config", "http.receivepack", "true"]).unwrap();
        certificates(folder);
        let line = |(user, password): (&str, &str)| format!("{user}:{{PLAIN}}{password}\n");
        std::fs::write(folder.join("readers"), line(READER) + &line(WRITER)).unwrap();
        std::fs::write(folder.join("writers"), line(WRITER)).unwrap();
        let socket = folder.join("fcgi.sock");
        let listen = format!("unix:{}", socket.display());
        let fcgi =
            Daemon::start(Path::new(FCGIWRAP), &["-c", "4", "-s", &listen], folder, &folder.join("log"));
        eventually("fcgiwrap listens", async || socket.exists().then_some(())).await;
        let (nginx, port) = nginx(folder).await;
        let (ca, place) = (folder.join("ca.crt"), format!("127.0.0.1:{port}/infra.git"));
        let origin = format!("https://{}:{}@{place}", WRITER.0, WRITER.1);
        for (key, value) in [
            ("remote.origin.url", origin.as_str()),
            ("http.sslCAInfo", ca.to_str().unwrap()),
            ("http.proxy", ""),
        ] {
            git(repository.work(), &["config", key, value]).unwrap();
        }
        let config =
            format!("url = \"https://{place}\"\nusername = \"{}\"\nca = \"{}\"\n", READER.0, ca.display());
        let credential = READER.1.to_owned();
        Self { repository, config, credential, folder: folder.to_owned(), _servers: vec![nginx, fcgi] }
    }

    /// sshd. The key that may read can do nothing else. Everything is in `folder`.
    pub(crate) async fn ssh(folder: &Path) -> Self {
        let repository = repository(folder);
        for name in ["host", "reader", "writer"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name], folder);
        }
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let allowed = [
            (format!("git-upload-pack '{}'", repository.bare().display()), "reader.pub"),
            (r#"git-shell -c \"$SSH_ORIGINAL_COMMAND\""#.to_owned(), "writer.pub"),
        ];
        let lines = allowed.map(|(forced, key)| format!("command=\"{forced}\",restrict {}", file(key)));
        std::fs::write(folder.join("authorized_keys"), lines.concat()).unwrap();
        let (sshd, port) = sshd(folder).await;
        std::fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {}", file("host.pub")))
            .unwrap();
        let place = format!("ssh://root@127.0.0.1:{port}{}", repository.bare().display());
        let ssh = format!(
            "ssh -F none -i {0}/writer -o UserKnownHostsFile={0}/known_hosts -o IdentitiesOnly=yes",
            folder.display()
        );
        for (key, value) in [("remote.origin.url", &place), ("core.sshCommand", &ssh)] {
            git(repository.work(), &["config", key, value]).unwrap();
        }
        let known = folder.join("known_hosts");
        let config = format!("url = \"{place}\"\nknown_hosts = \"{}\"\n", known.display());
        let credential = file("reader");
        Self { repository, config, credential, folder: folder.to_owned(), _servers: vec![sshd] }
    }

    /// The requests over https of who reads, so far, each as `METHOD /path STATUS`.
    pub(crate) fn reads(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("access.log")).unwrap();
        let prefix = format!("{} ", READER.0);
        log.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// A file of the server.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn repository(folder: &Path) -> Repository {
    let repositories = folder.join("repositories");
    std::fs::create_dir_all(&repositories).unwrap();
    Repository::create(&repositories).unwrap()
}

/// Starts nginx on a free port.
async fn nginx(folder: &Path) -> (Daemon, u16) {
    let (config, errors) = (folder.join("nginx.conf"), folder.join("error.log"));
    let arguments = ["-c", config.to_str().unwrap(), "-e", errors.to_str().unwrap()];
    start(Path::new(NGINX), &arguments, folder, |port| {
        std::fs::write(&config, nginx_config(folder, port)).unwrap();
    })
    .await
}

/// Starts sshd on a free port.
async fn sshd(folder: &Path) -> (Daemon, u16) {
    std::fs::create_dir_all("/run/sshd").unwrap();
    let config = folder.join("sshd_config");
    start(Path::new(SSHD), &["-D", "-e", "-f", config.to_str().unwrap()], folder, |port| {
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/authorized_keys\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\n",
            folder.display()
        );
        std::fs::write(&config, text).unwrap();
    })
    .await
}

/// Starts a server on a free port, for which `configure` writes its config.
async fn start(program: &Path, arguments: &[&str], folder: &Path, configure: impl Fn(u16)) -> (Daemon, u16) {
    let log = folder.join("log");
    for _ in 0..5 {
        let port = free_port();
        configure(port);
        let mut server = Daemon::start(program, arguments, folder, &log);
        if listens(&mut server, port).await {
            return (server, port);
        }
    }
    panic!("{} does not start: {}", program.display(), std::fs::read_to_string(log).unwrap_or_default());
}

/// Waits until a server listens; `false` if it ended, as it does when somebody took its port meanwhile.
async fn listens(server: &mut Daemon, port: u16) -> bool {
    eventually("the server listens", async || {
        if !server.is_running() {
            return Some(false);
        }
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(true)
    })
    .await
}

fn nginx_config(folder: &Path, port: u16) -> String {
    let d = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!(" {kind}_temp_path {d}/tmp-{kind};\n"))
        .concat();
    let backend = format!(
        "  fastcgi_pass unix:{d}/fcgi.sock; fastcgi_param SCRIPT_FILENAME {BACKEND};\n  \
         fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method;\n  \
         fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;\n  \
         fastcgi_param REMOTE_USER $remote_user; fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;\n  \
         fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding; fastcgi_param PATH_INFO $uri;\n  \
         fastcgi_param GIT_PROJECT_ROOT {d}/repositories; fastcgi_param GIT_HTTP_EXPORT_ALL 1;\n"
    );
    format!(
        "daemon off;\npid {d}/nginx.pid;\nerror_log {d}/error.log;\nworker_processes 1;\nuser root;\nevents {{}}\n\
         http {{\n log_format plain '$remote_user $request_method $request_uri $status';\n access_log {d}/access.log plain;\n\
         {temporary} server {{\n  listen 127.0.0.1:{port} ssl;\n  ssl_certificate {d}/tls.crt;\n  \
         ssl_certificate_key {d}/tls.key;\n  client_max_body_size 0;\n  auth_basic git;\n\
         location / {{\n  auth_basic_user_file {d}/readers;\n{backend} }}\n\
         location ~ /git-receive-pack$ {{\n  auth_basic_user_file {d}/writers;\n{backend} }}\n }}\n}}\n"
    )
}

/// An authority, and a certificate for 127.0.0.1 that it signed.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| run("openssl", &arguments.split(' ').collect::<Vec<_>>(), folder);
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 -days 2 -subj /CN=lab -keyout ca.key -out ca.crt {curve}"));
    openssl(&format!("req -subj /CN=127.0.0.1 -keyout tls.key -out tls.csr {curve}"));
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(
        "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out tls.crt",
    );
}
