#!/bin/sh
# The demo: extract, probe, tabulate. Called by `make demo`, which sets OUT (folder) and PY (interpreter).
set -eu
step() { now=$(date +%s); printf '\n== %s  (%s s since start)\n' "$1" "$((now - started))"; }
started=$(date +%s)
where="--out $OUT/features --encoders $OUT/encoders --digests $OUT/digests"
latents="--layers enc_pre_latent,enc_last --poolings global_mean,mean_max,seg_mean_K8"
labels=log_g,T_eff,M_H,a_M,C_M
trained=$OUT/features/demo_trained.json random=$OUT/features/demo_random.json
probe() { "$PY" -m probes run --results "$OUT/results" "$@"; }
plain='--controls none'

step 'extract: the shipped encoder, and the spectra themselves'
"$PY" -m extract run --data "$OUT/data/mock" $where --layers enc_pre_latent,enc_last,input_flux,input_error \
    --poolings global_mean,mean_max,seg_mean_K8,none --directions forward,backward --selection "$trained"
step 'extract: a random encoder of the same shape'
"$PY" -m extract run --data "$OUT/data/mock" $where --checkpoint random:0 $latents --directions forward,backward \
    --selection "$random"

step 'probe: ridge, published alpha and alpha chosen on val, five labels'
probe $plain --selection "$trained" $latents --directions forward,concat --labels "$labels"
probe $plain --selection "$trained" $latents --directions forward,concat --labels "$labels" --params alpha=val
step 'probe: LightGBM and MLP'
probe $plain --selection "$trained" $latents --directions concat --heads lightgbm,mlp_1
step 'controls: raw flux, error alone, random encoder, shuffled labels, mean'
"$PY" -m probes sweep $plain --results "$OUT/results" --selection "$trained" --layers input_flux,input_error --poolings none \
    --params ridge.alpha=val --labels "$labels" --threads 2    # a sweep shares what its labels have in common
probe $plain --selection "$random" $latents --directions concat --params alpha=val --labels "$labels"
probe --selection "$trained" --directions concat --layers enc_pre_latent --params alpha=val \
    --controls shuffled_labels,mean_predictor --labels "$labels"

step 'audit: what is left of log g when the network is fed another error'
for fed in shuffled from-noisy; do
    "$PY" -m extract run --data "$OUT/data/mock" $where --layers enc_pre_latent --poolings seg_mean_K8 --directions forward,backward \
        --error-input "$fed" --selection "$OUT/features/demo_$fed.json"
done
"$PY" -m probes audit --results "$OUT/results" --selection "$trained" --directions concat --error-inputs shuffled,from-noisy --threads 2
step 'ceiling: how much of the labels noisy flux can tell'
probe $plain --selection "$OUT/features/demo_from-noisy.json" --layers enc_pre_latent --directions concat --params alpha=val --labels log_g,T_eff
"$PY" -m extract fisher --data "$OUT/data/mock" --split test --out "$OUT/fisher" --digests "$OUT/digests"
"$PY" -m probes ceiling --results "$OUT/results" --features "$OUT/features" --fisher "$OUT/fisher" --labels log_g,T_eff

step 'a few spectra, and what the network reacts to'
"$PY" -m extract examples --data "$OUT/data/mock" --results "$OUT/results" --encoders "$OUT/encoders" --digests "$OUT/digests"
"$PY" -m extract occlude --data "$OUT/data/mock" --results "$OUT/results" --encoders "$OUT/encoders" --digests "$OUT/digests" \
    --directions forward,backward --rows 64

step 'compare all records of a label in pairs; tables, figures, page'
"$PY" -m probes compare --results "$OUT/results"
"$PY" -m reports tables --results "$OUT/results" --features "$OUT/features" --out "$OUT/reports" --show controls,labels,audit
"$PY" -m reports page --results "$OUT/results" --features "$OUT/features" --out "$OUT/reports/report.html"
step 'done: open reports/report.html'
