"""Measurements of neurons, pictures and reports; arrays in, arrays out."""

from keras_mono.analysis import plots as plots
from keras_mono.analysis.ablation import Ablation as Ablation
from keras_mono.analysis.ablation import ablation as ablation
from keras_mono.analysis.activations import activations as activations
from keras_mono.analysis.compare import compare as compare
from keras_mono.analysis.compare_measures import compare_measures as compare_measures
from keras_mono.analysis.decrease_ratio import decrease_ratio as decrease_ratio
from keras_mono.analysis.digits import LabelledInputs as LabelledInputs
from keras_mono.analysis.digits import digits as digits
from keras_mono.analysis.false_killing_rate import FalseKillingRate as FalseKillingRate
from keras_mono.analysis.false_killing_rate import (
    false_killing_rate as false_killing_rate,
)
from keras_mono.analysis.feature_scores import FeatureScores as FeatureScores
from keras_mono.analysis.feature_scores import FeatureStatistics as FeatureStatistics
from keras_mono.analysis.feature_scores import feature_scores as feature_scores
from keras_mono.analysis.ks_statistic import ks_statistic as ks_statistic
from keras_mono.analysis.measure_agreement import MeasureAgreement as MeasureAgreement
from keras_mono.analysis.measure_agreement import measure_agreement as measure_agreement
from keras_mono.analysis.measures import Measures as Measures
from keras_mono.analysis.measures import measures as measures
from keras_mono.analysis.measures import permuted_measures as permuted_measures
from keras_mono.analysis.probe import Probe as Probe
from keras_mono.analysis.probe import probe as probe
from keras_mono.analysis.profile import Profile as Profile
from keras_mono.analysis.profile import profile as profile
from keras_mono.analysis.report import report as report
from keras_mono.analysis.summary import summary as summary
from keras_mono.analysis.texts import LabelledTexts as LabelledTexts
from keras_mono.analysis.texts import code_languages as code_languages
from keras_mono.analysis.texts import natural_languages as natural_languages
