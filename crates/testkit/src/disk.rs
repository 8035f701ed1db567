//! Disks that are full, fail or are read-only, for a test inside a namespace of its own
//! ([`crate::namespace`]).

use crate::wait::poll;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Longest wait for a tool.
const TIMEOUT: Duration = Duration::from_secs(20);

fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{program} {args:?}: {said}")))
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("a path that is no text"))
}

/// A small file system over a folder; what the folder held is hidden. It goes with the value.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
    /// Holds the file system where it is not in memory.
    image: Option<PathBuf>,
}

impl SmallDisk {
    /// In memory, of so many bytes.
    ///
    /// # Errors
    /// Where it cannot be mounted: outside of a namespace without root.
    pub fn in_memory(at: &Path, bytes: u64) -> io::Result<Self> {
        let options = format!("size={bytes},mode=700");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", text(at)?])?;
        Ok(Self { at: at.to_owned(), image: None })
    }

    /// An ext4 in a file, which an error makes read-only; `None` where such a file cannot be mounted.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn in_a_file(at: &Path, image: &Path, bytes: u64) -> io::Result<Option<Self>> {
        File::create(image)?.set_len(bytes)?;
        let made = run("mkfs.ext4", &["-q", text(image)?]);
        let disk = Self { at: at.to_owned(), image: Some(image.to_owned()) };
        if made.and_then(|()| disk.mount()).is_err() {
            std::mem::forget(disk);
            return Ok(None);
        }
        Ok(Some(disk))
    }

    fn mount(&self) -> io::Result<()> {
        let image = self.image.as_deref().unwrap_or(Path::new(""));
        run("mount", &["-o", "loop,errors=remount-ro", text(image)?, text(&self.at)?])
    }

    /// Makes an ext4 believe that it is damaged: it is read-only until it is mounted anew.
    ///
    /// # Errors
    /// Where the kernel has no such switch.
    pub fn fail(&self) -> io::Result<()> {
        let output = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.at).output()?;
        let source = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let device = source.rsplit('/').next().unwrap_or_default();
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1")
    }

    /// Takes the file system away, looks it through and mounts it anew. Nobody may have a file open.
    ///
    /// # Errors
    /// Where a tool refuses.
    pub fn mount_anew(&self) -> io::Result<()> {
        run("umount", &[text(&self.at)?])?;
        if let Some(image) = &self.image {
            // 1: errors were corrected.
            let status = Command::new("e2fsck").args(["-fy", text(image)?]).output()?.status;
            if status.code().is_none_or(|code| code > 1) {
                return Err(io::Error::other("e2fsck found more than it could mend"));
            }
        }
        self.mount()
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Takes all room that there is.
    ///
    /// # Errors
    /// Where it fails otherwise than for the lack of room.
    pub fn fill(&self) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 16, 1 << 12, 1 << 8, 1] {
            let block = vec![0x5A; size];
            loop {
                match file.write(&block) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes room until no more than so many bytes are free.
    ///
    /// # Errors
    /// Where there is less.
    pub fn leave(&self, free: u64) -> io::Result<()> {
        let about = rustix::fs::statvfs(&self.at)?;
        let now = about.f_bavail.saturating_mul(about.f_frsize);
        let blocks = now.saturating_sub(free) >> 12;
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for _ in 0..blocks {
            file.write_all(&[0x5A; 1 << 12])?;
        }
        Ok(())
    }

    /// Gives all that was taken back.
    ///
    /// # Errors
    /// Where nothing was taken.
    pub fn make_room(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The namespace's end takes it away at the latest.
        if let Ok(at) = text(&self.at) {
            drop(run("umount", &["-l", at]));
        }
    }
}

/// Makes system calls of a running process fail, by `strace`.
#[derive(Debug)]
pub struct Injection {
    strace: Child,
}

impl Injection {
    /// Calls of these names fail with this error (like `EIO`) from now on; with paths, only those on
    /// files of these names. `None` where `strace` is missing or may not look at the process.
    ///
    /// # Errors
    /// Where it does not say in time that it has begun.
    pub fn begin(
        process: u32,
        calls: &str,
        error: &str,
        paths: &[PathBuf],
    ) -> io::Result<Option<Self>> {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}")])
            .args(["-p", &process.to_string()]);
        for path in paths {
            command.arg("-P").arg(path);
        }
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = match started.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            spawned => spawned?,
        };
        let is_attached = Arc::new(AtomicBool::new(false));
        if let Some(pipe) = strace.stderr.take() {
            let is_attached = Arc::clone(&is_attached);
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if line.contains("attached") {
                        is_attached.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        let begun = poll(TIMEOUT, || {
            let has_ended = strace.try_wait().is_ok_and(|status| status.is_some());
            (is_attached.load(Ordering::SeqCst) || has_ended).then_some(has_ended)
        });
        match begun {
            Some(false) => Ok(Some(Self { strace })),
            Some(true) => Ok(None),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "strace does not begin")),
        }
    }

    /// All is well again.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn end(mut self) -> io::Result<()> {
        let id = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        // It lets go of the process before it ends; killed, it would take the process along.
        kill_process(id.ok_or_else(|| io::Error::other("no process id"))?, Signal::INT)?;
        match poll(TIMEOUT, || self.strace.try_wait().transpose()) {
            Some(status) => status.map(drop),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "strace does not end")),
        }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}
