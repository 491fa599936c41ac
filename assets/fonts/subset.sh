#!/bin/sh
# Makes the bundled fonts from the Debian packages fonts-inter and fonts-jetbrains-mono.
#
# Needs `pyftsubset` (Python package fonttools). Kept: Latin, Greek, Cyrillic, punctuation, arrows,
# mathematical and geometric symbols; kerning, mark placement, tabular figures, slashed zero.
# Not here: bold, italic and hinting, which the console never asks for.
set -eu
cd "$(dirname "$0")"

unicodes=U+0020-007E,U+00A0-024F,U+0259,U+02B0-02FF,U+0300-036F,U+0370-03FF,U+0400-052F
unicodes=$unicodes,U+1E00-1EFF,U+2000-206F,U+2070-209F,U+20A0-20BF,U+2100-214F,U+2150-218F
unicodes=$unicodes,U+2190-21FF,U+2200-22FF,U+2300-23FF,U+2500-25FF,U+2600-27BF,U+FB00-FB04,U+FFFD

subset() { # FROM TO FEATURES
    pyftsubset "$1" --output-file="$2" --unicodes="$unicodes" --layout-features="$3" \
        --no-hinting --notdef-outline --name-IDs='*'
}

for weight in Regular Medium SemiBold; do
    subset "/usr/share/fonts/opentype/inter/Inter-$weight.otf" "Inter-$weight.otf" \
        ccmp,locl,mark,mkmk,kern,calt,tnum,zero,case
    subset "/usr/share/fonts/truetype/jetbrains-mono/JetBrainsMono-$weight.ttf" \
        "JetBrainsMono-$weight.ttf" ccmp,locl,mark,mkmk,kern,zero
done
