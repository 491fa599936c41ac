//! The Vulkan instance, and the ear for what the validation layers say.
//!
//! Not here: devices.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ash::{ext, vk};

use crate::error::Error;
use crate::vulkan::{failed, guest};

/// Our oldest version, and the newest we have any use for.
const VERSION_MIN: u32 = vk::API_VERSION_1_1;
const VERSION_MAX: u32 = vk::API_VERSION_1_3;

const LAYER: &CStr = c"VK_LAYER_KHRONOS_validation";

/// Messages kept word for word; the rest is only counted.
const MESSAGES_KEPT_MAX: usize = 50;

static MESSAGES_COUNT: AtomicU64 = AtomicU64::new(0);
static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many messages the layers have given in this process.
pub(crate) fn messages_count() -> u64 {
    MESSAGES_COUNT.load(Ordering::SeqCst)
}

/// The first of them.
pub(crate) fn messages() -> Vec<String> {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The loader, the instance and its messenger.
pub(crate) struct Instance {
    pub(crate) entry: ash::Entry,
    pub(crate) raw: ash::Instance,
    pub(crate) version: u32,
    pub(crate) extensions: Vec<&'static CStr>,
    messenger: Option<(ext::debug_utils::Instance, vk::DebugUtilsMessengerEXT)>,
}

impl Instance {
    pub(crate) fn new(validation: bool) -> Result<Arc<Self>, Error> {
        // SAFETY: loads the system's Vulkan loader, which like every system library is trusted.
        let entry = unsafe { ash::Entry::load() }
            .map_err(|e| Error::NoDevice(format!("no Vulkan loader ({e})")))?;
        // SAFETY: a global call without preconditions.
        let found = unsafe { entry.try_enumerate_instance_version() }
            .map_err(failed("asking for the Vulkan version"))?
            .unwrap_or(vk::API_VERSION_1_0);
        if found < VERSION_MIN {
            return Err(Error::NoDevice("the Vulkan loader is older than 1.1".into()));
        }
        let version = found.min(VERSION_MAX);
        let mut extensions = guest::instance_extensions(&entry, version)?;
        if validation {
            extensions.push(ext::debug_utils::NAME);
        }
        let raw = create(&entry, version, &extensions, validation)?;
        let mut instance = Self { entry, raw, version, extensions, messenger: None };
        if validation {
            let calls = ext::debug_utils::Instance::new(&instance.entry, &instance.raw);
            // SAFETY: the instance lives, the extension is enabled, the callback keeps no pointer.
            let messenger = unsafe { calls.create_debug_utils_messenger(&messenger_info(), None) }
                .map_err(failed("listening to the validation layers"))?;
            instance.messenger = Some((calls, messenger));
        }
        Ok(Arc::new(instance))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: whatever was made from the instance holds an `Arc` of it, so all of it is gone.
        unsafe {
            if let Some((calls, messenger)) = self.messenger.take() {
                calls.destroy_debug_utils_messenger(messenger, None);
            }
            self.raw.destroy_instance(None);
        }
    }
}

fn create(
    entry: &ash::Entry,
    version: u32,
    extensions: &[&'static CStr],
    validation: bool,
) -> Result<ash::Instance, Error> {
    let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
    let layers: Vec<_> = validation.then_some(LAYER.as_ptr()).into_iter().collect();
    let application =
        vk::ApplicationInfo::default().application_name(c"grace").api_version(version);
    let mut messenger = messenger_info();
    let mut info = vk::InstanceCreateInfo::default()
        .application_info(&application)
        .enabled_layer_names(&layers)
        .enabled_extension_names(&names);
    if validation {
        // Also hears what is said while the instance itself is made and destroyed.
        info = info.push_next(&mut messenger);
    }
    // SAFETY: `info` and all it points to live through the call.
    unsafe { entry.create_instance(&info, None) }.map_err(|code| match code {
        vk::Result::ERROR_LAYER_NOT_PRESENT => Error::NoDevice(
            "the validation layers were asked for and are not installed \
             (vulkan-validationlayers)"
                .into(),
        ),
        vk::Result::ERROR_INCOMPATIBLE_DRIVER => {
            Error::NoDevice("no Vulkan driver is installed".into())
        }
        code => failed("creating the Vulkan instance")(code),
    })
}

fn messenger_info() -> vk::DebugUtilsMessengerCreateInfoEXT<'static> {
    vk::DebugUtilsMessengerCreateInfoEXT::default()
        .message_severity(
            vk::DebugUtilsMessageSeverityFlagsEXT::ERROR
                | vk::DebugUtilsMessageSeverityFlagsEXT::WARNING,
        )
        .message_type(
            vk::DebugUtilsMessageTypeFlagsEXT::GENERAL
                | vk::DebugUtilsMessageTypeFlagsEXT::VALIDATION
                | vk::DebugUtilsMessageTypeFlagsEXT::PERFORMANCE,
        )
        .pfn_user_callback(Some(on_message))
}

/// # Safety
/// Called by the layers only, with `data` as the extension promises.
unsafe extern "system" fn on_message(
    severity: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    _: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: the layers pass a valid structure with valid or null strings, for this call only.
    let (name, text) = unsafe {
        let data = &*data;
        let name = data.message_id_name_as_c_str().map(CStr::to_string_lossy);
        let text = data.message_as_c_str().map(CStr::to_string_lossy);
        (name.unwrap_or_default(), text.unwrap_or_default())
    };
    // The loader speaks of drivers it could not open, which is no fault of ours.
    if name.contains("Loader Message") {
        return vk::FALSE;
    }
    MESSAGES_COUNT.fetch_add(1, Ordering::SeqCst);
    let mut kept = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < MESSAGES_KEPT_MAX {
        kept.push(format!("{severity:?} {name}: {text}"));
    }
    vk::FALSE
}
