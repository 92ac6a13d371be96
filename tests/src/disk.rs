//! A small disk of its own for a test, to fill and to protect: a tmpfs in a mount namespace of its own. That needs no
//! rights where user namespaces are allowed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// A disk that only processes see that are started through [`Disk::enter`].
pub struct Disk {
    /// Keeps the namespace; ends with its stdin, however this process ends.
    holder: Child,
    at: PathBuf,
    user: bool,
}

impl Disk {
    /// Mounts one at a folder, which is made.
    ///
    /// # Errors
    /// This machine does not allow it; the text says what it would need.
    pub fn new(at: &Path, kib: u32) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let disk = Self::mounted(at, kib, true).or_else(|_| Self::mounted(at, kib, false));
        disk.context(
            "a disk for a test needs user namespaces (`unshare -Urm true` must work), or root with CAP_SYS_ADMIN",
        )
    }

    fn mounted(at: &Path, kib: u32, user: bool) -> Result<Self> {
        let script = format!("mount -t tmpfs -o size={kib}k tmpfs \"$0\" && echo mounted && exec cat >/dev/null");
        let flags = if user { "-Urm" } else { "-m" };
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &script]).arg(at);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut disk = Self { holder: child, at: at.to_owned(), user };
        let mut told = String::new();
        BufReader::new(disk.holder.stdout.take().context("no stdout")?).read_line(&mut told)?;
        ensure!(told == "mounted\n", "it was not mounted");
        Ok(disk)
    }

    /// Words before a command that make it see the disk, and run in a folder.
    pub fn enter(&self, dir: &Path) -> Vec<String> {
        let holder = self.holder.id().to_string();
        let words: &[&str] = if self.user {
            &["nsenter", "-U", "-m", "--preserve-credentials", "-t", &holder]
        } else {
            &["nsenter", "-m", "-t", &holder]
        };
        // Whoever enters comes to the root folder, and would see the old disk if brought back by a descriptor.
        let back = format!("cd '{}' && exec \"$@\"", dir.display());
        words.iter().copied().chain(["sh", "-c", &back, "sh"]).map(str::to_owned).collect()
    }

    /// Makes it larger or smaller.
    ///
    /// # Errors
    /// It holds more than that.
    pub fn resize(&self, kib: u32) -> Result<()> {
        self.run(&format!("mount -o remount,size={kib}k tmpfs \"$PWD\""))
    }

    /// Forbids all writing, or allows it again.
    ///
    /// # Errors
    /// A file is open for writing.
    pub fn read_only(&self, forbidden: bool) -> Result<()> {
        self.run(if forbidden { "mount -o remount,ro tmpfs \"$PWD\"" } else { "mount -o remount,rw tmpfs \"$PWD\"" })
    }

    /// Takes room away, until [`Disk::give_back`].
    ///
    /// # Errors
    /// There is not so much.
    pub fn take_away(&self, kib: u32) -> Result<()> {
        self.run(&format!("fallocate -l {kib}KiB balloon"))
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// None was taken.
    pub fn give_back(&self) -> Result<()> {
        self.run("rm balloon")
    }

    /// Copies what is on it to a folder that everyone sees.
    ///
    /// # Errors
    /// It can't be read, or the folder not be written.
    pub fn copy_to(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        self.run(&format!("cp -r . '{}'", dir.display()))
    }

    fn run(&self, script: &str) -> Result<()> {
        let words = self.enter(&self.at);
        let (program, args) = words.split_first().context("no command")?;
        let ran = Command::new(program).args(args).args(["sh", "-c", script]).stdin(Stdio::null()).output()?;
        if !ran.status.success() {
            bail!("{script}: {}", String::from_utf8_lossy(&ran.stderr));
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The disk goes with the last process that sees it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
