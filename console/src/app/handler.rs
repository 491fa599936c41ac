//! What the window system says, in the words of the rest of the program.
//!
//! Not here: what follows from it (`app`).

use std::time::Duration;

use grace_ui::access;
use grace_ui::input::Input;
use winit::application::ApplicationHandler;
use winit::event::{ElementState, Ime, MouseButton, MouseScrollDelta, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow};
use winit::window::{Theme, WindowId};

use super::{App, Outside};
use crate::platform::keys;
use crate::say;

/// Pixels a notch of the wheel moves the content: three rows of text in most programs, three rows
/// of the list here.
const WHEEL_NOTCH: f32 = 96.0;

impl ApplicationHandler<Outside> for App {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.shown.is_some() {
            return;
        }
        match self.open(event_loop) {
            Ok(shown) => {
                shown.window.request_redraw();
                self.shown = Some(shown);
                self.dirty = true;
            }
            Err(reason) => self.fail(event_loop, reason),
        }
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, event: Outside) {
        match event {
            Outside::News => self.news = true,
            Outside::Access(event) => match event.window_event {
                accesskit_winit::WindowEvent::InitialTreeRequested => {
                    self.refresh();
                    if let Some(shown) = &mut self.shown {
                        shown.access.update_if_active(|| access::tree(&self.ui));
                    }
                }
                accesskit_winit::WindowEvent::ActionRequested(request) => {
                    if access::act(&mut self.ui, &request) {
                        self.dirty = true;
                    }
                }
                accesskit_winit::WindowEvent::AccessibilityDeactivated => {}
            },
        }
        let _ = event_loop;
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        if let Some(shown) = &mut self.shown {
            shown.access.process_event(&shown.window, &event);
        }
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            WindowEvent::RedrawRequested => {
                if let Err(reason) = self.draw() {
                    self.fail(event_loop, reason);
                }
            }
            WindowEvent::Resized(size) => {
                if let Some(shown) = &mut self.shown {
                    shown.renderer.resize(size.width, size.height);
                }
                self.dirty = true;
            }
            WindowEvent::ScaleFactorChanged { .. } => self.dirty = true,
            WindowEvent::ThemeChanged(theme) => {
                self.model.system_dark = theme == Theme::Dark;
                self.dirty = true;
            }
            WindowEvent::ModifiersChanged(mods) => self.mods = mods.state(),
            WindowEvent::KeyboardInput { event, is_synthetic: false, .. }
                if event.state == ElementState::Pressed =>
            {
                let press = keys::press(&event, self.mods);
                self.input(event_loop, Input::Key(press));
            }
            WindowEvent::Ime(Ime::Preedit(text, _)) => self.input(event_loop, Input::Preedit(text)),
            WindowEvent::Ime(Ime::Commit(text)) => self.input(event_loop, Input::Commit(text)),
            WindowEvent::Focused(focused) => {
                self.input(event_loop, Input::WindowFocused(focused));
            }
            WindowEvent::CursorMoved { position, .. } => {
                let input = self.pointer(position.x, position.y);
                self.input(event_loop, input);
            }
            WindowEvent::CursorLeft { .. } => self.input(event_loop, Input::PointerLeft),
            WindowEvent::MouseInput { state, button: MouseButton::Left, .. } => {
                let input = match state {
                    ElementState::Pressed => Input::Pressed { shift: self.mods.shift_key() },
                    ElementState::Released => Input::Released,
                };
                self.input(event_loop, input);
            }
            WindowEvent::MouseWheel { delta, .. } => {
                let by = match delta {
                    MouseScrollDelta::LineDelta(_, lines) => lines * WHEEL_NOTCH,
                    #[expect(clippy::cast_possible_truncation, reason = "a distance on the screen")]
                    MouseScrollDelta::PixelDelta(at) => at.y as f32 / self.ui.scale(),
                };
                self.input(event_loop, Input::Wheel(by));
            }
            _ => {}
        }
    }

    fn about_to_wait(&mut self, event_loop: &ActiveEventLoop) {
        self.take_news();
        let now = self.now();
        let over = |wake: Option<Duration>| wake.is_some_and(|at| at <= now);
        if self.dirty || over(self.ui.wake_at()) || over(self.model.wake_at()) {
            self.refresh();
        }
        if over(self.redraw_at) {
            self.redraw_at = None;
            if let Some(shown) = &self.shown {
                shown.window.request_redraw();
            }
        }
        let mut wake: Option<Duration> = None;
        let due = self.news.then(|| self.news_due());
        for at in
            [self.ui.wake_at(), self.model.wake_at(), self.redraw_at, due].into_iter().flatten()
        {
            wake = Some(wake.map_or(at, |wake| wake.min(at)));
        }
        event_loop.set_control_flow(match wake {
            Some(at) => ControlFlow::WaitUntil(self.start + at),
            None => ControlFlow::Wait,
        });
    }

    fn exiting(&mut self, _: &ActiveEventLoop) {
        if let Some(path) = self.args.screenshot_on_exit.clone()
            && self.failed.is_none()
        {
            self.save_picture(&path);
        }
        if let Some(shown) = self.shown.take() {
            self.validation_messages = shown.renderer.validation_messages();
            for message in shown.renderer.validation_log() {
                say(&message);
            }
        }
        if self.args.log_frames {
            say(&format!("frames drawn: {}", self.frames));
        }
    }
}

impl App {
    fn pointer(&self, x: f64, y: f64) -> Input {
        let scale = f64::from(self.ui.scale());
        #[expect(clippy::cast_possible_truncation, reason = "a place in the window")]
        let at = ((x / scale) as f32, (y / scale) as f32);
        Input::PointerMoved(at.0, at.1)
    }
}
