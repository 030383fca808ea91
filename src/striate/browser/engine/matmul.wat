;; The inner product of the browser's engine: C += A·B on one block of the depth, 4 rows by 8 columns at a time.
;;
;;   a      `quads` parts of 4 rows: a part holds, for each of `depth` k, the 4 rows' weights side by side
;;   b      `panels` parts of 8 columns: a part holds, for each k, the 8 columns' values side by side
;;   c      4·quads rows of 8·panels values, row after row
;;   Addresses are in bytes. The 8 sums of a part stay in registers over all of `depth`.
;;
;; And, at the end, the convolution of one channel for itself (depthwise).
;; Built into matmul_bytes.js by .ci/build_matmul.py.
(module
  (import "env" "memory" (memory 1))
  (func (export "multiply")
    (param $a i32) (param $b i32) (param $c i32) (param $quads i32) (param $depth i32) (param $panels i32)
    (local $row i32) (local $panel i32) (local $k i32) (local $pa i32) (local $pb i32)
    (local $c0 i32) (local $c1 i32) (local $c2 i32) (local $c3 i32)
    (local $b0 v128) (local $b1 v128) (local $w v128)
    (local $s00 v128) (local $s01 v128) (local $s10 v128) (local $s11 v128)
    (local $s20 v128) (local $s21 v128) (local $s30 v128) (local $s31 v128)
    (local.set $row (i32.mul (local.get $panels) (i32.const 32)))
    (loop $every_quad
      (local.set $c0 (local.get $c))
      (local.set $pb (local.get $b))
      (local.set $panel (local.get $panels))
      (loop $every_panel
        (local.set $c1 (i32.add (local.get $c0) (local.get $row)))
        (local.set $c2 (i32.add (local.get $c1) (local.get $row)))
        (local.set $c3 (i32.add (local.get $c2) (local.get $row)))
        (local.set $s00 (v128.load (local.get $c0)))
        (local.set $s01 (v128.load offset=16 (local.get $c0)))
        (local.set $s10 (v128.load (local.get $c1)))
        (local.set $s11 (v128.load offset=16 (local.get $c1)))
        (local.set $s20 (v128.load (local.get $c2)))
        (local.set $s21 (v128.load offset=16 (local.get $c2)))
        (local.set $s30 (v128.load (local.get $c3)))
        (local.set $s31 (v128.load offset=16 (local.get $c3)))
        (local.set $pa (local.get $a))
        (local.set $k (local.get $depth))
        (loop $every_k
          (local.set $b0 (v128.load (local.get $pb)))
          (local.set $b1 (v128.load offset=16 (local.get $pb)))
          (local.set $w (v128.load32_splat (local.get $pa)))
          (local.set $s00 (f32x4.add (local.get $s00) (f32x4.mul (local.get $w) (local.get $b0))))
          (local.set $s01 (f32x4.add (local.get $s01) (f32x4.mul (local.get $w) (local.get $b1))))
          (local.set $w (v128.load32_splat offset=4 (local.get $pa)))
          (local.set $s10 (f32x4.add (local.get $s10) (f32x4.mul (local.get $w) (local.get $b0))))
          (local.set $s11 (f32x4.add (local.get $s11) (f32x4.mul (local.get $w) (local.get $b1))))
          (local.set $w (v128.load32_splat offset=8 (local.get $pa)))
          (local.set $s20 (f32x4.add (local.get $s20) (f32x4.mul (local.get $w) (local.get $b0))))
          (local.set $s21 (f32x4.add (local.get $s21) (f32x4.mul (local.get $w) (local.get $b1))))
          (local.set $w (v128.load32_splat offset=12 (local.get $pa)))
          (local.set $s30 (f32x4.add (local.get $s30) (f32x4.mul (local.get $w) (local.get $b0))))
          (local.set $s31 (f32x4.add (local.get $s31) (f32x4.mul (local.get $w) (local.get $b1))))
          (local.set $pa (i32.add (local.get $pa) (i32.const 16)))
          (local.set $pb (i32.add (local.get $pb) (i32.const 32)))
          (br_if $every_k (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
        (v128.store (local.get $c0) (local.get $s00))
        (v128.store offset=16 (local.get $c0) (local.get $s01))
        (v128.store (local.get $c1) (local.get $s10))
        (v128.store offset=16 (local.get $c1) (local.get $s11))
        (v128.store (local.get $c2) (local.get $s20))
        (v128.store offset=16 (local.get $c2) (local.get $s21))
        (v128.store (local.get $c3) (local.get $s30))
        (v128.store offset=16 (local.get $c3) (local.get $s31))
        (local.set $c0 (i32.add (local.get $c0) (i32.const 32)))
        (br_if $every_panel (local.tee $panel (i32.sub (local.get $panel) (i32.const 1)))))
      (local.set $a (local.get $pa))
      (local.set $c (i32.add (local.get $c) (i32.mul (local.get $row) (i32.const 4))))
      (br_if $every_quad (local.tee $quads (i32.sub (local.get $quads) (i32.const 1))))))

  ;; One channel's convolution, 8 output columns at a time: out[r, v] = bias + Σ over t of weights[t]·in[r, v, t].
  ;;
  ;;   offsets  for each tap, how far behind the output's own place its value lies, in bytes
  ;;   step     from one output row to the next in the input, in bytes; parts: 8 columns each, side by side in `out`
  (func (export "slide")
    (param $in i32) (param $offsets i32) (param $weights i32) (param $out i32)
    (param $taps i32) (param $rows i32) (param $step i32) (param $parts i32) (param $bias f32)
    (local $at i32) (local $part i32) (local $t i32) (local $place i32) (local $weight i32) (local $offset i32)
    (local $s0 v128) (local $s1 v128) (local $w v128)
    (loop $every_row
      (local.set $at (local.get $in))
      (local.set $part (local.get $parts))
      (loop $every_part
        (local.set $s0 (f32x4.splat (local.get $bias)))
        (local.set $s1 (local.get $s0))
        (local.set $offset (local.get $offsets))
        (local.set $weight (local.get $weights))
        (local.set $t (local.get $taps))
        (loop $every_tap
          (local.set $place (i32.add (local.get $at) (i32.load (local.get $offset))))
          (local.set $w (v128.load32_splat (local.get $weight)))
          (local.set $s0 (f32x4.add (local.get $s0) (f32x4.mul (local.get $w) (v128.load (local.get $place)))))
          (local.set $s1 (f32x4.add (local.get $s1) (f32x4.mul (local.get $w) (v128.load offset=16 (local.get $place)))))
          (local.set $offset (i32.add (local.get $offset) (i32.const 4)))
          (local.set $weight (i32.add (local.get $weight) (i32.const 4)))
          (br_if $every_tap (local.tee $t (i32.sub (local.get $t) (i32.const 1)))))
        (v128.store (local.get $out) (local.get $s0))
        (v128.store offset=16 (local.get $out) (local.get $s1))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $at (i32.add (local.get $at) (i32.const 32)))
        (br_if $every_part (local.tee $part (i32.sub (local.get $part) (i32.const 1)))))
      (local.set $in (i32.add (local.get $in) (local.get $step)))
      (br_if $every_row (local.tee $rows (i32.sub (local.get $rows) (i32.const 1))))))

  ;; What comes after a convolution, in place, 4 values at a time: min(max(v·scale + shift, low), high).
  (func (export "finish")
    (param $at i32) (param $count i32) (param $scale f32) (param $shift f32) (param $low f32) (param $high f32)
    (local $s v128) (local $t v128) (local $l v128) (local $h v128)
    (local.set $s (f32x4.splat (local.get $scale)))
    (local.set $t (f32x4.splat (local.get $shift)))
    (local.set $l (f32x4.splat (local.get $low)))
    (local.set $h (f32x4.splat (local.get $high)))
    (loop $every_four
      (v128.store (local.get $at)
        (f32x4.min (local.get $h)
          (f32x4.max (local.get $l)
            (f32x4.add (local.get $t) (f32x4.mul (local.get $s) (v128.load (local.get $at)))))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $every_four (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))))
