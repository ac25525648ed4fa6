//! The memory of the service is its own: no core dump, and nobody of the same user who reads it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use holdfast_lab::service::{self, Service};

use super::support::{PATIENCE, binary};

/// What root is not needed for happens as somebody else, if it can.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_the_memory_of_the_service_and_no_core_is_dumped() {
    let folder = tempfile::tempdir().expect("a folder is made");
    let path = |name: &str| folder.path().join(name);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("it is ours");
    std::fs::create_dir(path("state")).expect("a folder is made");
    let text = format!(
        "site = \"home\"\nstate = \"{}\"\n[repository]\nurl = \"{}\"\n",
        path("state").display(),
        path("infra.git").display()
    );
    std::fs::write(path("holdfast.toml"), text).expect("a config is written");
    std::fs::copy(binary(), path("holdfast")).expect("the binary is copied");
    let mut command = service::command(&path("holdfast"), &path("holdfast.toml"), folder.path());
    let is_root = std::fs::metadata(folder.path()).expect("it is there").uid() == 0;
    if is_root {
        std::os::unix::fs::chown(path("state"), Some(NOBODY), Some(NOBODY)).expect("root may");
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut service = Service::spawn(command, |_| {}).expect("the service starts");
    service.until_logged("the service started", PATIENCE).await.expect("it starts");
    let process = Path::new("/proc").join(service.id().expect("it runs").to_string());
    let limits = std::fs::read_to_string(process.join("limits")).expect("everybody may read it");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("it is a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What belongs to a process that dumps no core belongs to root.
    assert_eq!(std::fs::metadata(process.join("environ")).expect("it is there").uid(), 0);
    for file in ["environ", "mem", "maps"] {
        let mut reader = tokio::process::Command::new("cat");
        reader.arg(process.join(file));
        if is_root {
            reader.uid(NOBODY).gid(NOBODY);
        }
        let output = reader.output().await.expect("cat runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("Permission denied"), "{file}: {text}");
    }
    service.kill().await.expect("it can be killed");
}
