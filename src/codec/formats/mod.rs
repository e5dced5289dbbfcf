//! The block formats, one file each: a picture of its bytes, its block, and both directions. The table maps
//! [`GgmlType`](crate::GgmlType) to them.

mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod nvfp4;
mod plain;
mod q1_0;
mod q2_0;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod q8_1;
mod q8_k;
mod tq1_0;
mod tq2_0;

use crate::codec::table;

table::formats! {
    plain: F32;
    plain: F16;
    plain: BF16;
    plain: F64;
    plain: I8;
    plain: I16;
    plain: I32;
    plain: I64;
    q4_0: Q4_0 as BlockQ4_0;
    q4_1: Q4_1 as BlockQ4_1;
    q2_k: Q2_K as BlockQ2_K;
    q3_k: Q3_K as BlockQ3_K;
    q5_0: Q5_0 as BlockQ5_0;
    q5_1: Q5_1 as BlockQ5_1;
    q8_0: Q8_0 as BlockQ8_0;
    q8_1: Q8_1 as BlockQ8_1;
    q4_k: Q4_K as BlockQ4_K;
    q5_k: Q5_K as BlockQ5_K;
    q6_k: Q6_K as BlockQ6_K;
    q8_k: Q8_K as BlockQ8_K;
    iq2_xxs: IQ2_XXS as BlockIQ2_XXS;
    iq2_xs: IQ2_XS as BlockIQ2_XS;
    iq3_xxs: IQ3_XXS as BlockIQ3_XXS;
    iq1_s: IQ1_S as BlockIQ1_S;
    iq3_s: IQ3_S as BlockIQ3_S;
    iq2_s: IQ2_S as BlockIQ2_S;
    iq1_m: IQ1_M as BlockIQ1_M;
    iq4_nl: IQ4_NL as BlockIQ4_NL;
    iq4_xs: IQ4_XS as BlockIQ4_XS;
    tq1_0: TQ1_0 as BlockTQ1_0;
    tq2_0: TQ2_0 as BlockTQ2_0;
    mxfp4: MXFP4 as BlockMXFP4;
    nvfp4: NVFP4 as BlockNVFP4;
    q1_0: Q1_0 as BlockQ1_0;
    q2_0: Q2_0 as BlockQ2_0;
}
