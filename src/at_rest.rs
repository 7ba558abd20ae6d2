//! What lies on the disk is for this program's user alone: folders 0700, files 0600. What others may read already is found before
//! the store is opened.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// A folder or a file that other users of the machine may read or write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wide {
    path: PathBuf,
    mode: u32,
    /// Whether it is a folder.
    folder: bool,
    /// Who owns it, where that is another user than the one that runs this program.
    owner: Option<u32>,
}

impl Wide {
    fn wanted(&self) -> u32 {
        if self.folder { 0o700 } else { 0o600 }
    }

    /// Whether it is an own folder in which nothing is yet, so that nobody has read anything.
    pub fn is_unused(&self) -> bool {
        let empty = || fs::read_dir(&self.path).is_ok_and(|mut all| all.next().is_none());
        self.folder && self.owner.is_none() && empty()
    }

    /// Takes the right from others.
    pub fn mend(&self) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(self.wanted()))
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, mode, wanted) = (self.path.display(), self.mode, self.wanted());
        write!(
            f,
            "{path} has mode {mode:04o}: other users of this machine may read what is in it; "
        )?;
        match (self.owner, self.folder) {
            (None, _) => write!(f, "run: chmod {wanted:o} {path}"),
            (Some(owner), true) => write!(
                f,
                "it belongs to user {owner}: run chmod {wanted:o} {path} as that user and give it to the user that runs this program, \
                 or name a folder in it that does not exist yet (--data {path}/switchboard), which is then made with mode 0700"
            ),
            (Some(owner), false) => {
                write!(f, "it belongs to user {owner}: run chmod {wanted:o} {path} as that user")
            }
        }
    }
}

/// What this process makes from now on is for its user alone.
pub fn set_umask() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Those of these folders and files that exist and that others may read or write.
pub fn wide<'a>(paths: impl IntoIterator<Item = &'a Path>) -> io::Result<Vec<Wide>> {
    let mut found = Vec::new();
    for path in paths {
        let known = match fs::metadata(path) {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            }
        };
        let mode = known.mode() & 0o7777;
        if mode & 0o077 == 0 || !(known.is_dir() || known.is_file()) {
            continue;
        }
        let me = rustix::process::geteuid().as_raw();
        let owner = Some(known.uid()).filter(|owner| *owner != me);
        found.push(Wide { path: path.to_owned(), mode, folder: known.is_dir(), owner });
    }
    Ok(found)
}

/// The files of a store: the database, and what SQLite keeps beside it.
pub fn files_of(store: &Path) -> [PathBuf; 4] {
    let beside = |end: &str| {
        let mut path = store.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    };
    [store.to_owned(), beside("-wal"), beside("-shm"), beside("-journal")]
}

/// Makes a folder, and those above it that are missing, for this user alone.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// An empty file for this user alone, also where one was that others may read.
pub fn create(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // A pipe or a terminal has no content to protect.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(0)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("at-rest-{name}-{}", uuid::Uuid::new_v4()));
        make_folder(&path).unwrap();
        path
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_others_may_read_is_found_named_and_mended() {
        let folder = folder("wide");
        let (store, absent) = (folder.join("s.db"), folder.join("absent"));
        fs::write(&store, "x").unwrap();
        for (of_folder, of_file, found) in [
            (0o700, 0o600, 0),
            (0o755, 0o600, 1),
            (0o750, 0o640, 2),
            (0o701, 0o606, 2),
            (0o2770, 0o600, 1),
            (0o500, 0o400, 0),
        ] {
            fs::set_permissions(&store, Permissions::from_mode(of_file)).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(of_folder)).unwrap();
            let wide = wide([folder.as_path(), &store, &absent]).unwrap();
            assert_eq!(wide.len(), found, "{of_folder:o} {of_file:o}");
            for it in &wide {
                let text = it.to_string();
                let remedy = if it.folder { "chmod 700 " } else { "chmod 600 " };
                assert!(
                    text.contains(&format!("mode {:04o}", it.mode)) && text.contains(remedy),
                    "{text}"
                );
                assert!(text.contains(&*it.path.to_string_lossy()), "{text}");
                it.mend().unwrap();
            }
            assert_eq!(super::wide([folder.as_path(), &store]).unwrap(), []);
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_mount_of_another_user_has_a_remedy_that_this_user_can_follow() {
        let wide = Wide { path: "/data".into(), mode: 0o755, folder: true, owner: Some(7) };
        let text = wide.to_string();
        assert!(
            text.contains("belongs to user 7") && text.contains("--data /data/switchboard"),
            "{text}"
        );
    }

    #[test]
    fn a_file_that_was_wide_is_private_once_it_is_written_anew() {
        let folder = folder("create");
        let path = folder.join("dump");
        fs::write(&path, "old and long").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = create(&path).unwrap();
        assert_eq!((mode(&path), file.metadata().unwrap().len()), (0o600, 0));
        drop(create(Path::new("/dev/null")).unwrap());
        let [_, wal, ..] = files_of(&path);
        assert_eq!(wal, folder.join("dump-wal"));
        fs::remove_dir_all(folder).unwrap();
    }
}
