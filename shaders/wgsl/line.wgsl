// One segment of a polyline, with round joins and caps. A segment knows its neighbors and leaves
// them the pixels they are nearer to: a translucent line is not darker at its joins.
// Output is premultiplied.

struct Frame { size: vec2<f32> }
var<immediate> frame: Frame;

struct Instance {
    @location(0) before_from: vec4<f32>,  // the point before the segment, and its first point
    @location(1) to_after: vec4<f32>,     // its last point, and the point after it
    @location(2) clip: vec4<f32>,         // left, top, right, bottom
    @location(3) shape: vec4<f32>,        // width, has a segment before, has one after, 0
    @location(4) color: vec4<f32>,        // straight alpha
}

struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) @interpolate(flat) before_from: vec4<f32>,
    @location(1) @interpolate(flat) to_after: vec4<f32>,
    @location(2) @interpolate(flat) shape: vec4<f32>,
    @location(3) @interpolate(flat) color: vec4<f32>,
}

@vertex
fn vs(@builtin(vertex_index) index: u32, in: Instance) -> Varying {
    let corner = vec2<f32>(f32(index & 1u), f32(index >> 1u));
    let a = in.before_from.zw;
    let b = in.to_after.xy;
    let grow = in.shape.x * 0.5 + 1.0;
    let p = clamp(mix(min(a, b) - grow, max(a, b) + grow, corner),
                  in.clip.xy, max(in.clip.xy, in.clip.zw));
    var out: Varying;
    out.position = vec4<f32>(p / frame.size * 2.0 - 1.0, 0.0, 1.0);
    out.before_from = in.before_from;
    out.to_after = in.to_after;
    out.shape = in.shape;
    out.color = in.color;
    return out;
}

// Distance to the segment.
fn distance_to(p: vec2<f32>, a: vec2<f32>, b: vec2<f32>) -> f32 {
    let ab = b - a;
    let t = clamp(dot(p - a, ab) / max(dot(ab, ab), 1e-6), 0.0, 1.0);
    return length(p - a - ab * t);
}

@fragment
fn fs(in: Varying) -> @location(0) vec4<f32> {
    // Exactly the same for both segments at a joint, which an interpolated place is not.
    let p = in.position.xy;
    let mine = distance_to(p, in.before_from.zw, in.to_after.xy);
    let before = distance_to(p, in.before_from.xy, in.before_from.zw);
    let after = distance_to(p, in.to_after.xy, in.to_after.zw);
    // Both segments compute the same two distances, so one of them draws: on a tie the earlier.
    let is_before = in.shape.y > 0.0 && before <= mine;
    let is_after = in.shape.z > 0.0 && after < mine;
    let width = in.shape.x;
    // Thinner than a pixel: as faint as it is thin.
    let half_width = max(width, 1.0) * 0.5;
    let coverage = clamp(half_width + 0.5 - mine, 0.0, 1.0) * min(width, 1.0);
    let alpha = select(in.color.a * coverage, 0.0, is_before || is_after);
    return vec4<f32>(in.color.rgb * alpha, alpha);
}
