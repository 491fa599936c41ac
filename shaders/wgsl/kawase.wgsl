// Dual Kawase blur (Bjorge 2015), one step: `down` halves, `up` doubles.
// The source is a window into its texture; taps stay inside, so nothing around it bleeds in.

struct Pass {
    window: vec4<f32>,   // the window in the source: left, top, width, height, 0..1
    bounds: vec4<f32>,   // where taps may go: left, top, right, bottom, 0..1
    reach: vec2<f32>,    // distance of a tap, 0..1
}
var<immediate> one: Pass;
@group(0) @binding(0) var source: texture_2d<f32>;
@group(0) @binding(1) var linear: sampler;

struct Varying { @builtin(position) position: vec4<f32>, @location(0) uv: vec2<f32> }

@vertex
fn vs(@builtin(vertex_index) index: u32) -> Varying {
    let corner = vec2<f32>(f32((index << 1u) & 2u), f32(index & 2u));
    var out: Varying;
    out.position = vec4<f32>(corner * 2.0 - 1.0, 0.0, 1.0);
    out.uv = one.window.xy + corner * one.window.zw;
    return out;
}

fn tap(uv: vec2<f32>) -> vec4<f32> {
    return textureSampleLevel(source, linear, clamp(uv, one.bounds.xy, one.bounds.zw), 0.0);
}

// The middle and four diagonal taps.
@fragment
fn down(in: Varying) -> @location(0) vec4<f32> {
    let h = one.reach;
    let g = vec2<f32>(h.x, -h.y);
    let diagonals = tap(in.uv - h) + tap(in.uv + h) + tap(in.uv + g) + tap(in.uv - g);
    return (tap(in.uv) * 4.0 + diagonals) / 8.0;
}

// Eight taps around the place.
@fragment
fn up(in: Varying) -> @location(0) vec4<f32> {
    let h = one.reach;
    let straight = tap(in.uv + vec2<f32>(2.0 * h.x, 0.0)) + tap(in.uv - vec2<f32>(2.0 * h.x, 0.0))
        + tap(in.uv + vec2<f32>(0.0, 2.0 * h.y)) + tap(in.uv - vec2<f32>(0.0, 2.0 * h.y));
    let diagonal = tap(in.uv + h) + tap(in.uv - h)
        + tap(in.uv + vec2<f32>(h.x, -h.y)) + tap(in.uv + vec2<f32>(-h.x, h.y));
    return (straight + diagonal * 2.0) / 12.0;
}
