//! Icons and the shapes of states, as lines on a small grid.
//!
//! Drawn with the line pipeline, they are sharp at every scale and need no atlas. Invariants: icon
//! points lie on a 24 by 24 grid. Not here: where they stand (`paint`).

use std::f32::consts::TAU;

/// A picture on a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icon {
    /// Everything: a pulse line.
    Pulse,
    /// Mail.
    Envelope,
    /// Logins.
    Person,
    /// Connections.
    Plug,
    /// Mailboxes.
    Folder,
    /// Something is wrong.
    Warning,
    /// The server itself.
    Server,
    /// Searching.
    Lens,
    /// Stop the stream.
    Pause,
    /// Let the stream run.
    Play,
    /// Take away.
    Cross,
    /// Towards the dark theme.
    Moon,
    /// Towards the light theme.
    Sun,
    /// Down to the newest.
    ArrowDown,
    /// All is well.
    Check,
}

/// The shape of a state, so that it never rests on color alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// ● done.
    Dot,
    /// ○ merely happened.
    Ring,
    /// ◐ waits, was refused.
    Half,
    /// ▲ failed.
    Triangle,
    /// ◆ was changed by somebody.
    Diamond,
}

impl Icon {
    /// The lines of the icon on a 24 by 24 grid.
    pub fn lines(self) -> Vec<Vec<[f32; 2]>> {
        match self {
            Self::Pulse => vec![vec![
                [2.0, 12.0],
                [6.5, 12.0],
                [9.5, 4.5],
                [14.5, 19.5],
                [17.5, 12.0],
                [22.0, 12.0],
            ]],
            Self::Envelope => vec![
                round_box(2.5, 5.0, 21.5, 19.0, 2.0),
                vec![[3.0, 7.0], [12.0, 13.5], [21.0, 7.0]],
            ],
            Self::Person => vec![circle(12.0, 8.0, 4.0), arc(12.0, 21.0, 7.5, 0.5, 1.0)],
            Self::Plug => vec![
                vec![[9.0, 2.5], [9.0, 8.0]],
                vec![[15.0, 2.5], [15.0, 8.0]],
                vec![
                    [6.0, 8.0],
                    [18.0, 8.0],
                    [18.0, 12.0],
                    [15.0, 16.5],
                    [9.0, 16.5],
                    [6.0, 12.0],
                    [6.0, 8.0],
                ],
                vec![[12.0, 16.5], [12.0, 21.5]],
            ],
            Self::Folder => vec![vec![
                [2.5, 19.0],
                [2.5, 5.0],
                [9.0, 5.0],
                [11.5, 8.0],
                [21.5, 8.0],
                [21.5, 19.0],
                [2.5, 19.0],
                [2.5, 18.0],
            ]],
            Self::Warning => vec![
                vec![[12.0, 3.5], [22.0, 20.5], [2.0, 20.5], [12.0, 3.5], [12.5, 4.3]],
                vec![[12.0, 10.0], [12.0, 14.5]],
                vec![[12.0, 17.1], [12.0, 17.6]],
            ],
            Self::Server => vec![
                round_box(3.0, 3.5, 21.0, 10.5, 1.5),
                round_box(3.0, 13.5, 21.0, 20.5, 1.5),
                vec![[6.8, 7.0], [7.4, 7.0]],
                vec![[6.8, 17.0], [7.4, 17.0]],
            ],
            Self::Lens => vec![circle(10.5, 10.5, 6.5), vec![[15.5, 15.5], [21.0, 21.0]]],
            Self::Pause => vec![vec![[8.5, 5.0], [8.5, 19.0]], vec![[15.5, 5.0], [15.5, 19.0]]],
            Self::Play => vec![vec![[7.0, 4.5], [19.0, 12.0], [7.0, 19.5], [7.0, 4.5], [7.8, 5.0]]],
            Self::Cross => vec![vec![[6.0, 6.0], [18.0, 18.0]], vec![[18.0, 6.0], [6.0, 18.0]]],
            Self::Moon => vec![moon()],
            Self::Sun => sun(),
            Self::ArrowDown => {
                vec![vec![[12.0, 4.5], [12.0, 19.0]], vec![[5.5, 12.5], [12.0, 19.0], [18.5, 12.5]]]
            }
            Self::Check => vec![vec![[4.5, 12.5], [10.0, 18.0], [20.0, 6.5]]],
        }
    }
}

/// Points on a part of a circle, from turn `from` to turn `to` (0.0 is right, 0.25 is down).
fn arc(x: f32, y: f32, radius: f32, from: f32, to: f32) -> Vec<[f32; 2]> {
    const STEPS: u16 = 24;
    (0..=STEPS)
        .map(|step| {
            let turn = from + (to - from) * f32::from(step) / f32::from(STEPS);
            [x + radius * (turn * TAU).cos(), y + radius * (turn * TAU).sin()]
        })
        .collect()
}

fn circle(x: f32, y: f32, radius: f32) -> Vec<[f32; 2]> {
    // A little more than once around, so that the ends meet without a notch.
    arc(x, y, radius, 0.0, 1.02)
}

fn round_box(x0: f32, y0: f32, x1: f32, y1: f32, r: f32) -> Vec<[f32; 2]> {
    let mut points = vec![[x0 + r, y0]];
    points.extend(corner(x1 - r, y0 + r, r, 0.75));
    points.extend(corner(x1 - r, y1 - r, r, 0.0));
    points.extend(corner(x0 + r, y1 - r, r, 0.25));
    points.extend(corner(x0 + r, y0 + r, r, 0.5));
    points.push([x0 + r + 1.0, y0]);
    points
}

fn corner(x: f32, y: f32, radius: f32, from: f32) -> Vec<[f32; 2]> {
    arc(x, y, radius, from, from + 0.25).into_iter().step_by(6).collect()
}

fn moon() -> Vec<[f32; 2]> {
    // The long way around the disc, and back along the shadow's edge.
    let mut points = arc(12.0, 12.0, 9.0, 0.014, 0.736);
    points.extend(arc(16.83, 7.17, 7.0, 0.602, 0.148));
    points.push([20.9, 13.4]);
    points
}

fn sun() -> Vec<Vec<[f32; 2]>> {
    let mut lines = vec![circle(12.0, 12.0, 4.0)];
    for ray in 0..8_u8 {
        let (sin, cos) = (f32::from(ray) / 8.0 * TAU).sin_cos();
        lines
            .push(vec![[12.0 + 7.2 * cos, 12.0 + 7.2 * sin], [12.0 + 9.6 * cos, 12.0 + 9.6 * sin]]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_stay_on_their_grid() {
        let all = [
            Icon::Pulse,
            Icon::Envelope,
            Icon::Person,
            Icon::Plug,
            Icon::Folder,
            Icon::Warning,
            Icon::Server,
            Icon::Lens,
            Icon::Pause,
            Icon::Play,
            Icon::Cross,
            Icon::Moon,
            Icon::Sun,
            Icon::ArrowDown,
            Icon::Check,
        ];
        for icon in all {
            for line in icon.lines() {
                assert!(line.len() >= 2, "{icon:?}");
                for [x, y] in line {
                    assert!((0.0..=24.0).contains(&x) && (0.0..=24.0).contains(&y), "{icon:?}");
                }
            }
        }
    }
}
