//! The console's toolkit: layout, text, focus, widgets and themes, made into a scene.
