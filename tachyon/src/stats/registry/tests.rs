use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn record(token: u64) -> Record {
    Record {
        pid: std::process::id(),
        namespace: Record::own_namespace(),
        pid_here: std::process::id(),
        descriptor: 0,
        len: 64,
        token,
        started: token,
        path: "/tmp/x.sock".into(),
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("tachyon");
    (around, path)
}

fn tokens(folder: &Folder) -> Vec<u64> {
    folder.records().unwrap().iter().map(|(record, _)| record.token).collect()
}

fn files(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

#[test]
fn a_server_is_listed_until_it_leaves() {
    let (_around, path) = place();
    assert!(Folder::open(&path).unwrap().is_none());
    let folder = Arc::new(Folder::create(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let first = folder.register(&record(1)).unwrap();
    let second = folder.register(&record(2)).unwrap();
    assert_eq!(tokens(&folder), [1, 2]);
    drop(first);
    assert_eq!(tokens(&folder), [2]);
    drop(second);
    assert_eq!((tokens(&folder), files(&path)), (vec![], 0));
}

#[test]
fn files_of_dead_servers_are_removed_and_those_of_live_servers_are_not() {
    let (_around, path) = place();
    let folder = Arc::new(Folder::create(&path).unwrap());
    let living = folder.register(&record(1)).unwrap();
    std::fs::write(path.join("9-9.server"), record(9).encode()).unwrap();
    std::fs::write(path.join("nonsense.server"), b"nonsense").unwrap();
    std::fs::write(path.join("of another program"), b"kept").unwrap();
    assert_eq!(tokens(&folder), [1]);
    assert_eq!(files(&path), 2);
    drop(living);
}

#[test]
fn a_new_server_removes_the_files_of_dead_servers() {
    let (_around, path) = place();
    let folder = Arc::new(Folder::create(&path).unwrap());
    let first = folder.register(&record(1)).unwrap();
    std::fs::write(path.join("9-9.server"), record(9).encode()).unwrap();
    let second = folder.register(&record(2)).unwrap();
    assert_eq!((files(&path), tokens(&folder)), (2, vec![1, 2]));
    drop((first, second));
}

#[test]
fn a_dead_server_whose_child_keeps_the_lock_is_left_out() {
    let (_around, path) = place();
    let folder = Arc::new(Folder::create(&path).unwrap());
    let orphan = Record { pid: i32::MAX.unsigned_abs(), pid_here: i32::MAX.unsigned_abs(), ..record(3) };
    let _kept = folder.register(&orphan).unwrap();
    assert_eq!((tokens(&folder), files(&path)), (vec![], 1));
}

#[test]
fn a_locked_folder_keeps_its_files_until_later() {
    let (_around, path) = place();
    let folder = Arc::new(Folder::create(&path).unwrap());
    std::fs::write(path.join("9-9.server"), record(9).encode()).unwrap();
    let lock = folder.lock(PATIENCE).unwrap();
    assert_eq!((tokens(&folder), files(&path)), (vec![], 1));
    assert!(matches!(folder.register(&record(1)), Err(StatsError::Locked { .. })));
    drop(lock);
    assert_eq!((tokens(&folder), files(&path)), (vec![], 0));
}

#[test]
fn a_locked_file_without_a_record_is_left_out() {
    let (_around, path) = place();
    let folder = Arc::new(Folder::create(&path).unwrap());
    std::fs::write(path.join("nonsense.server"), vec![b'x'; 3 * LONGEST]).unwrap();
    let nonsense = File::open(path.join("nonsense.server")).unwrap();
    assert!(acquire(&nonsense, Deadline::never()).unwrap());
    rustix::fs::mknodat(rustix::fs::CWD, path.join("pipe.server"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    symlink("/dev/zero", path.join("link.server")).unwrap();
    assert_eq!((tokens(&folder), files(&path)), (vec![], 3));
}

#[test]
fn a_folder_that_is_not_ours_alone_is_refused() {
    let fault = |outcome: Result<Option<Folder>, StatsError>| match outcome {
        Err(StatsError::Folder { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let (around, path) = place();
    let real = around.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o700)).unwrap();
    symlink(&real, &path).unwrap();
    assert_eq!(fault(Folder::open(&path)), "is a symbolic link or no directory");
    assert!(Folder::create(&path).is_err());
    std::fs::remove_file(&path).unwrap();
    symlink(around.path().join("nowhere"), &path).unwrap();
    assert!(Folder::create(&path).is_err());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"").unwrap();
    assert_eq!(fault(Folder::open(&path)), "is a symbolic link or no directory");
    for mode in [0o777, 0o770, 0o710, 0o701] {
        std::fs::set_permissions(&real, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(fault(Folder::open(&real)), "is open to other users");
    }
    // A folder of another user: root's, or, for root, a folder given to another user.
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&real, PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&real, Some(65_534), None).unwrap();
        assert_eq!(fault(Folder::open(&real)), "belongs to another user");
    } else {
        assert_eq!(fault(Folder::open(Path::new("/"))), "belongs to another user");
    }
}
