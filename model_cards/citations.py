"""BibTeX of the papers, libraries and data that models and datasets build on, by key."""

from collections.abc import Sequence


def _arxiv(key: str, title: str, author: str, number: str) -> str:
    """Writes the entry of a preprint; the year is in its number."""
    return (
        f"@misc{{{key},\n  title = {{{title}}},\n  author = {{{author}}},\n  year = {{20{number[:2]}}},\n"
        f"  eprint = {{{number}}},\n  archivePrefix = {{arXiv}},\n  url = {{https://arxiv.org/abs/{number}}}\n}}"
    )


CITATIONS: dict[str, str] = {
    "nyx": _arxiv(
        "zhang2025nyx",
        "Towards Mixed-Modal Retrieval for Universal Retrieval-Augmented Generation",
        "Zhang, Chenghao and Dong, Guanting and Yang, Xinyu and Dou, Zhicheng",
        "2510.17354",
    ),
    "u-marvel": _arxiv(
        "li2025umarvel",
        "{U-MARVEL}: Unveiling Key Factors for Universal Multimodal Retrieval via Embedding Learning with {MLLMs}",
        "Li, Xiaojie and Li, Chu and Chen, Shi-Zhe and Chen, Xi",
        "2507.14902",
    ),
    "rzenembed": _arxiv(
        "jian2025rzenembed",
        "{RzenEmbed}: Towards Comprehensive Multimodal Retrieval",
        "Jian, Weijian and Zhang, Yajun and Liang, Dawei and Xie, Chunyu and He, Yixiao and Leng, Dawei and "
        "Yin, Yuhui",
        "2510.27350",
    ),
    "matryoshka": """@inproceedings{kusupati2022matryoshka,
  title = {Matryoshka Representation Learning},
  author = {Kusupati, Aditya and Bhatt, Gantavya and Rege, Aniket and Wallingford, Matthew and Sinha, Aditya and
    Ramanujan, Vivek and Howard-Snyder, William and Chen, Kaifeng and Kakade, Sham and Jain, Prateek and Farhadi, Ali},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {35},
  year = {2022}
}""",
    "infonce": _arxiv(
        "oord2018infonce",
        "Representation Learning with Contrastive Predictive Coding",
        "van den Oord, Aaron and Li, Yazhe and Vinyals, Oriol",
        "1807.03748",
    ),
    "lora": _arxiv(
        "hu2021lora",
        "{LoRA}: Low-Rank Adaptation of Large Language Models",
        "Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi and Wang, Shean and "
        "Wang, Lu and Chen, Weizhu",
        "2106.09685",
    ),
    "dora": _arxiv(
        "liu2024dora",
        "{DoRA}: Weight-Decomposed Low-Rank Adaptation",
        "Liu, Shih-Yang and Wang, Chien-Yi and Yin, Hongxu and Molchanov, Pavlo and Wang, Yu-Chiang Frank and "
        "Cheng, Kwang-Ting and Chen, Min-Hung",
        "2402.09353",
    ),
    "gradient-cache": _arxiv(
        "gao2021gradcache",
        "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
        "Gao, Luyu and Zhang, Yunyi and Han, Jiawei and Callan, Jamie",
        "2101.06983",
    ),
    "model-soups": _arxiv(
        "wortsman2022soups",
        "Model Soups: Averaging Weights of Multiple Fine-Tuned Models Improves Accuracy without Increasing Inference "
        "Time",
        "Wortsman, Mitchell and Ilharco, Gabriel and Gadre, Samir Yitzhak and Roelofs, Rebecca and others",
        "2203.05482",
    ),
    "qwen2-vl": _arxiv(
        "wang2024qwen2vl",
        "{Qwen2-VL}: Enhancing Vision-Language Model's Perception of the World at Any Resolution",
        "Wang, Peng and Bai, Shuai and Tan, Sinan and Wang, Shijie and Fan, Zhihao and Bai, Jinze and others",
        "2409.12191",
    ),
    "qwen2.5-vl": _arxiv(
        "bai2025qwen25vl",
        "{Qwen2.5-VL} Technical Report",
        "Bai, Shuai and Chen, Keqin and Liu, Xuejing and Wang, Jialin and Ge, Wenbin and Song, Sibo and others",
        "2502.13923",
    ),
    "qwen3-vl": _arxiv(
        "bai2025qwen3vl",
        "{Qwen3-VL} Technical Report",
        "Bai, Shuai and Cai, Yuxuan and Chen, Ruizhe and Chen, Keqin and Chen, Xionghui and others",
        "2511.21631",
    ),
    "obelics": _arxiv(
        "laurencon2023obelics",
        "{OBELICS}: An Open Web-Scale Filtered Dataset of Interleaved Image-Text Documents",
        "Laurençon, Hugo and Saulnier, Lucile and Tronchon, Léo and Bekman, Stas and Singh, Amanpreet and others",
        "2306.16527",
    ),
    "mmeb": _arxiv(
        "jiang2024vlm2vec",
        "{VLM2Vec}: Training Vision-Language Models for Massive Multimodal Embedding Tasks",
        "Jiang, Ziyan and Meng, Rui and Yang, Xinyi and Yavuz, Semih and Zhou, Yingbo and Chen, Wenhu",
        "2410.05160",
    ),
    "mme5": _arxiv(
        "chen2025mme5",
        "{mmE5}: Improving Multimodal Multilingual Embeddings via High-quality Synthetic Data",
        "Chen, Haonan and Wang, Liang and Yang, Nan and Zhu, Yutao and Zhao, Ziliang and Wei, Furu and Dou, Zhicheng",
        "2502.08468",
    ),
    "m-beir": _arxiv(
        "wei2023uniir",
        "{UniIR}: Training and Benchmarking Universal Multimodal Information Retrievers",
        "Wei, Cong and Chen, Yang and Chen, Haonan and Hu, Hexiang and Zhang, Ge and Fu, Jie and others",
        "2311.17136",
    ),
    "hotpotqa": _arxiv(
        "yang2018hotpotqa",
        "{HotpotQA}: A Dataset for Diverse, Explainable Multi-hop Question Answering",
        "Yang, Zhilin and Qi, Peng and Zhang, Saizheng and Bengio, Yoshua and Cohen, William W. and others",
        "1809.09600",
    ),
    "2wikimultihopqa": _arxiv(
        "ho2020constructing",
        "Constructing A Multi-hop {QA} Dataset for Comprehensive Evaluation of Reasoning Steps",
        "Ho, Xanh and Nguyen, Anh-Khoa Duong and Sugawara, Saku and Aizawa, Akiko",
        "2011.01060",
    ),
    "musique": _arxiv(
        "trivedi2021musique",
        "{MuSiQue}: Multihop Questions via Single-hop Question Composition",
        "Trivedi, Harsh and Balasubramanian, Niranjan and Khot, Tushar and Sabharwal, Ashish",
        "2108.00573",
    ),
    "bamboogle": _arxiv(
        "press2022measuring",
        "Measuring and Narrowing the Compositionality Gap in Language Models",
        "Press, Ofir and Zhang, Muru and Min, Sewon and Schmidt, Ludwig and Smith, Noah A. and Lewis, Mike",
        "2210.03350",
    ),
    "scienceqa": _arxiv(
        "lu2022learn",
        "Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question Answering",
        "Lu, Pan and Mishra, Swaroop and Xia, Tony and Qiu, Liang and Chang, Kai-Wei and Zhu, Song-Chun and others",
        "2209.09513",
    ),
    "nli": _arxiv(
        "gao2021simcse",
        "{SimCSE}: Simple Contrastive Learning of Sentence Embeddings",
        "Gao, Tianyu and Yao, Xingcheng and Chen, Danqi",
        "2104.08821",
    ),
    "sentence-transformers": """@inproceedings{reimers2019sentencebert,
  title = {Sentence-{BERT}: Sentence Embeddings using {Siamese} {BERT}-Networks},
  author = {Reimers, Nils and Gurevych, Iryna},
  booktitle = {Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing},
  year = {2019},
  url = {https://arxiv.org/abs/1908.10084}
}""",
    "transformers": """@inproceedings{wolf2020transformers,
  title = {Transformers: State-of-the-Art Natural Language Processing},
  author = {Wolf, Thomas and Debut, Lysandre and Sanh, Victor and Chaumond, Julien and Delangue, Clement and others},
  booktitle = {Proceedings of the 2020 Conference on Empirical Methods in Natural Language Processing: System
    Demonstrations},
  year = {2020},
  url = {https://aclanthology.org/2020.emnlp-demos.6}
}""",
    "datasets": """@inproceedings{lhoest2021datasets,
  title = {Datasets: A Community Library for Natural Language Processing},
  author = {Lhoest, Quentin and Villanova del Moral, Albert and Jernite, Yacine and Thakur, Abhishek and others},
  booktitle = {Proceedings of the 2021 Conference on Empirical Methods in Natural Language Processing: System
    Demonstrations},
  year = {2021},
  url = {https://aclanthology.org/2021.emnlp-demo.21}
}""",
    "peft": """@misc{mangrulkar2022peft,
  title = {{PEFT}: State-of-the-art Parameter-Efficient Fine-Tuning methods},
  author = {Mangrulkar, Sourab and Gugger, Sylvain and Debut, Lysandre and Belkada, Younes and Paul, Sayak and
    Bossan, Benjamin},
  year = {2022},
  url = {https://github.com/huggingface/peft}
}""",
    "digits": """@misc{alpaydin1998digits,
  title = {Optical Recognition of Handwritten Digits},
  author = {Alpaydin, Ethem and Kaynak, Cenk},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}""",
    "scikit-learn": """@article{pedregosa2011scikitlearn,
  title = {Scikit-learn: Machine Learning in {Python}},
  author = {Pedregosa, Fabian and Varoquaux, Ga\\"el and Gramfort, Alexandre and Michel, Vincent and others},
  journal = {Journal of Machine Learning Research},
  volume = {12},
  pages = {2825--2830},
  year = {2011}
}""",
}
"""Entries by key; a card names the keys it needs."""


def bibtex(keys: Sequence[str]) -> str:
    """Joins the entries of some keys.

    Args:
        keys: Keys of `CITATIONS`; a key named twice is printed once.

    Returns:
        BibTeX, entries parted by an empty line.

    Raises:
        ValueError: If a key is unknown.
    """
    unknown = [key for key in keys if key not in CITATIONS]
    if unknown:
        raise ValueError(f"unknown citation {', '.join(map(repr, unknown))}; the known ones are {sorted(CITATIONS)}")
    return "\n\n".join(CITATIONS[key] for key in dict.fromkeys(keys))
