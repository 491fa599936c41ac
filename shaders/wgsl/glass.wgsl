// A glass panel: the last doubling of the blur, tint, noise and the lit upper edge, inside a
// rounded rectangle. The blur is linear light; what is mixed on top is mixed in sRGB, as the rest
// of the scene, so that a tint means the same with and without blur. Output is premultiplied.

struct Panel {
    rect: vec4<f32>,     // x, y, width, height
    window: vec4<f32>,   // what the blurred texture shows: left, top, width, height in pixels
    tint: vec4<f32>,     // straight alpha
    edge: vec4<f32>,
    size: vec2<f32>,     // of the frame
    reach: vec2<f32>,    // distance of a tap, 0..1
    radius: f32,
    noise: f32,          // amplitude, 0..1
}
var<immediate> panel: Panel;
@group(0) @binding(0) var blurred: texture_2d<f32>;
@group(0) @binding(1) var linear: sampler;

@vertex
fn vs(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    let corner = vec2<f32>(f32(index & 1u), f32(index >> 1u));
    let p = panel.rect.xy - 1.0 + corner * (panel.rect.zw + 2.0);
    return vec4<f32>(p / panel.size * 2.0 - 1.0, 0.0, 1.0);
}

fn coverage(p: vec2<f32>) -> f32 {
    let half_size = panel.rect.zw * 0.5;
    let radius = min(panel.radius, min(half_size.x, half_size.y));
    let q = abs(p - panel.rect.xy - half_size) - half_size + radius;
    let d = length(max(q, vec2<f32>(0.0))) + min(max(q.x, q.y), 0.0) - radius;
    return clamp(0.5 - d, 0.0, 1.0);
}

fn tap(uv: vec2<f32>) -> vec3<f32> {
    return textureSampleLevel(blurred, linear, uv, 0.0).rgb;
}

fn to_srgb(c: vec3<f32>) -> vec3<f32> {
    let low = c * 12.92;
    let high = 1.055 * pow(max(c, vec3<f32>(0.0)), vec3<f32>(1.0 / 2.4)) - 0.055;
    return select(high, low, c <= vec3<f32>(0.0031308));
}

fn noise(p: vec2<f32>) -> f32 {
    return fract(52.9829189 * fract(dot(floor(p), vec2<f32>(0.06711056, 0.00583715))));
}

@fragment
fn fs(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let p = position.xy;
    let uv = (p - panel.window.xy) / panel.window.zw;
    let h = panel.reach;
    let straight = tap(uv + vec2<f32>(2.0 * h.x, 0.0)) + tap(uv - vec2<f32>(2.0 * h.x, 0.0))
        + tap(uv + vec2<f32>(0.0, 2.0 * h.y)) + tap(uv - vec2<f32>(0.0, 2.0 * h.y));
    let diagonal = tap(uv + h) + tap(uv - h)
        + tap(uv + vec2<f32>(h.x, -h.y)) + tap(uv + vec2<f32>(-h.x, h.y));
    let behind = to_srgb((straight + diagonal * 2.0) / 12.0);

    var c = mix(behind, panel.tint.rgb, panel.tint.a);
    c += (noise(p) - 0.5) * panel.noise;
    let outer = coverage(p);
    let lit = (1.0 - coverage(p - vec2<f32>(0.0, 1.0))) * panel.edge.a;
    c = mix(c, panel.edge.rgb, lit);
    return vec4<f32>(clamp(c, vec3<f32>(0.0), vec3<f32>(1.0)) * outer, outer);
}
