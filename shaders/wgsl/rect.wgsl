// Rounded rectangle: gradient fill, inner border, or the blurred fill of a shadow.
// One instance each; the corners are clamped to the clip, so no pixel outside it is even shaded.
// Output is premultiplied.

struct Frame { size: vec2<f32> }
var<immediate> frame: Frame;

struct Instance {
    @location(0) rect: vec4<f32>,    // x, y, width, height
    @location(1) clip: vec4<f32>,    // left, top, right, bottom
    @location(2) shape: vec4<f32>,   // radius, border width, shadow sigma, border on top only (0/1)
    @location(3) top: vec4<f32>,     // fill, straight alpha
    @location(4) bottom: vec4<f32>,
    @location(5) border: vec4<f32>,
}

struct Varying {
    @builtin(position) position: vec4<f32>,
    @location(0) @interpolate(flat) center: vec2<f32>,
    @location(1) @interpolate(flat) half_size: vec2<f32>,
    @location(2) @interpolate(flat) shape: vec4<f32>,
    @location(3) @interpolate(flat) top: vec4<f32>,
    @location(4) @interpolate(flat) bottom: vec4<f32>,
    @location(5) @interpolate(flat) border: vec4<f32>,
}

@vertex
fn vs(@builtin(vertex_index) index: u32, in: Instance) -> Varying {
    let corner = vec2<f32>(f32(index & 1u), f32(index >> 1u));
    // One pixel for the soft edge; three sigma hold 99.7 % of a shadow.
    let grow = max(1.0, 3.0 * in.shape.z);
    let grown = in.rect.xy - grow + corner * (in.rect.zw + 2.0 * grow);
    let p = clamp(grown, in.clip.xy, max(in.clip.xy, in.clip.zw));
    var out: Varying;
    out.position = vec4<f32>(p / frame.size * 2.0 - 1.0, 0.0, 1.0);
    out.half_size = in.rect.zw * 0.5;
    out.center = in.rect.xy + out.half_size;
    out.shape = in.shape;
    out.shape.x = min(in.shape.x, min(out.half_size.x, out.half_size.y));
    out.top = in.top;
    out.bottom = in.bottom;
    out.border = in.border;
    return out;
}

fn distance_to(p: vec2<f32>, half_size: vec2<f32>, radius: f32) -> f32 {
    let q = abs(p) - half_size + radius;
    return length(max(q, vec2<f32>(0.0))) + min(max(q.x, q.y), 0.0) - radius;
}

fn coverage(p: vec2<f32>, half_size: vec2<f32>, radius: f32) -> f32 {
    return clamp(0.5 - distance_to(p, half_size, radius), 0.0, 1.0);
}

fn premultiply(c: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(c.rgb * c.a, c.a);
}

// Interleaved gradient noise (Jimenez 2014): breaks up the bands of an 8-bit gradient.
fn noise(p: vec2<f32>) -> f32 {
    return fract(52.9829189 * fract(dot(floor(p), vec2<f32>(0.06711056, 0.00583715))));
}

// Integral of the normal distribution, good to 5e-4 (Abramowitz and Stegun 7.1.27).
fn normal_below(x: vec2<f32>, sigma: f32) -> vec2<f32> {
    let v = x * (0.70710678 / sigma);
    let s = sign(v);
    let a = abs(v);
    var r = 1.0 + (0.278393 + (0.230389 + (0.000972 + 0.078108 * a) * a) * a) * a;
    r = r * r;
    return 0.5 + 0.5 * (s - s / (r * r));
}

// How much of the row at height y, blurred along x, is inside.
fn shadow_row(x: f32, y: f32, sigma: f32, radius: f32, half_size: vec2<f32>) -> f32 {
    let delta = min(half_size.y - radius - abs(y), 0.0);
    let curved = half_size.x - radius + sqrt(max(0.0, radius * radius - delta * delta));
    let integral = normal_below(vec2<f32>(x - curved, x + curved), sigma);
    return integral.y - integral.x;
}

// Exact along x, sampled along y.
fn shadow(p: vec2<f32>, sigma: f32, radius: f32, half_size: vec2<f32>) -> f32 {
    let low = p.y - half_size.y;
    let high = p.y + half_size.y;
    let start = clamp(-3.0 * sigma, low, high);
    let end = clamp(3.0 * sigma, low, high);
    let step = (end - start) / 6.0;
    var y = start + step * 0.5;
    var sum = 0.0;
    for (var i = 0; i < 6; i++) {
        let weight = exp(-y * y / (2.0 * sigma * sigma)) / (2.50662827 * sigma);
        sum += shadow_row(p.x, p.y - y, sigma, radius, half_size) * weight * step;
        y += step;
    }
    return sum;
}

@fragment
fn fs(in: Varying) -> @location(0) vec4<f32> {
    let local = in.position.xy - in.center;
    let t = clamp((local.y + in.half_size.y) / max(2.0 * in.half_size.y, 1.0), 0.0, 1.0);
    var fill = mix(premultiply(in.top), premultiply(in.bottom), t);
    if any(in.top != in.bottom) {
        fill += vec4<f32>(vec3<f32>((noise(in.position.xy) - 0.5) / 255.0) * fill.a, 0.0);
    }
    let radius = in.shape.x;
    if in.shape.z > 0.0 {
        return fill * shadow(local, in.shape.z, radius, in.half_size);
    }
    let outer = coverage(local, in.half_size, radius);
    let width = in.shape.y;
    if width <= 0.0 {
        return fill * outer;
    }
    var inner: f32;
    if in.shape.w > 0.0 {
        inner = coverage(local - vec2<f32>(0.0, width), in.half_size, radius);
    } else {
        inner = coverage(local, in.half_size - width, max(radius - width, 0.0));
    }
    let edge = premultiply(in.border) + fill * (1.0 - in.border.a);
    return mix(edge, fill, inner) * outer;
}
