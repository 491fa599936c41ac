//! The command line.
//!
//! Not here: what the switches do.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::model::ThemeWish;

/// Where the daemon's socket stands unless told: try mode's place first, then the installed one's.
const SOCKETS: [&str; 2] = ["grace-data/admin.sock", "/run/grace/admin.sock"];

/// Watches a Grace mail server.
#[derive(Debug, Clone, Parser)]
#[command(name = "grace-console", version)]
pub(crate) struct Args {
    /// The server's admin socket [default: ./grace-data/admin.sock, then /run/grace/admin.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Colors
    #[arg(long, value_enum, default_value = "system")]
    pub(crate) theme: Theme,
    /// Blurred glass; auto: not where the graphics are drawn in software
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) glass: Glass,
    /// Part of the name of the graphics device to use
    #[arg(long, value_name = "NAME")]
    pub(crate) gpu: Option<String>,
    /// Width and height of the window at its start
    #[arg(long, value_name = "WxH", value_parser = parse_size, default_value = "1280x800")]
    pub(crate) size: (u32, u32),
    /// Tell times in UTC
    #[arg(long)]
    pub(crate) utc: bool,
    /// Turn the Vulkan validation layers on; any message makes the exit code 3
    #[arg(long)]
    pub(crate) validate: bool,
    /// Write a line to standard error for every frame drawn
    #[arg(long)]
    pub(crate) log_frames: bool,
    /// Write what the window shows to a PNG file when it closes
    #[arg(long, value_name = "FILE")]
    pub(crate) screenshot_on_exit: Option<PathBuf>,
    /// Where F12 writes what the window shows
    #[arg(long, value_name = "FILE", default_value = "grace-console.png")]
    pub(crate) screenshot: PathBuf,
}

/// Which colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Theme {
    Dark,
    Light,
    System,
}

/// Whether glass is blurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Glass {
    On,
    Off,
    Auto,
}

impl Args {
    /// The places to look for the daemon.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        match &self.socket {
            Some(path) => vec![path.clone()],
            None => SOCKETS.iter().map(PathBuf::from).collect(),
        }
    }

    pub(crate) fn theme_wish(&self) -> ThemeWish {
        match self.theme {
            Theme::Dark => ThemeWish::Dark,
            Theme::Light => ThemeWish::Light,
            Theme::System => ThemeWish::System,
        }
    }
}

/// Windows smaller than this show nothing useful, larger ones are a typing error.
const SIDE_MIN: u32 = 200;
const SIDE_MAX: u32 = 16_384;

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("not a size like 1280x800 between {SIDE_MIN} and {SIDE_MAX}");
    let (w, h) = text.split_once('x').ok_or_else(wrong)?;
    let side = |text: &str| text.parse::<u32>().ok().filter(|n| (SIDE_MIN..=SIDE_MAX).contains(n));
    side(w).zip(side(h)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["grace-console", "--theme", "light", "--size", "900x700"]);
        assert_eq!(args.theme_wish(), ThemeWish::Light);
        assert_eq!(args.size, (900, 700));
        assert_eq!(args.sockets().len(), 2);
        let args = Args::parse_from(["grace-console", "--socket", "x.sock"]);
        assert_eq!(args.sockets(), [PathBuf::from("x.sock")]);
        assert!(Args::try_parse_from(["grace-console", "--size", "9x9"]).is_err());
        assert!(Args::try_parse_from(["grace-console", "--glass", "maybe"]).is_err());
    }
}
