# ruff: noqa: RUF001  words of many scripts look alike
"""Words for sports in other languages, each of which can mean one sport only.

How Strava calls a sport in these languages is not known for all; a word that it does not use does no harm.
"""

from __future__ import annotations

from typing import Final

# Languages stand between bars, in this order: German, Italian, Spanish, Portuguese, French, Dutch, Polish, the Nordic
# ones, Czech, Turkish, Indonesian, Russian, Japanese, Chinese, Korean. Those whose word stands already are left out.
_WORDS: Final = {
    "Run": (
        "Lauf, Laufen | Corsa | Correr | Corrida | Hardlopen | Bieg, Bieganie | Löpning, Löprunda, Löptur | "
        "Løb, Løbetur | Løp, Løping, Løpetur | Juoksu, Juoksulenkki | Běh | Koşu | Lari | Бег, Забег, "
        "Пробежка | ラン, ランニング | 跑步 | 달리기, 러닝"
    ),
    "TrailRun": (
        "Traillauf | Corsa in natura, Corsa su sentiero | Carrera de trail, Carrera de montaña | Corrida em "
        "trilha, Corrida de trilha | Trail | Bieg terenowy | Traillöpning, Terränglöpning | Polkujuoksu | "
        "Patika koşusu | Трейлраннинг | トレイルラン, トレイルランニング | 越野跑 | 트레일 러닝, 트레일 런"
    ),
    "VirtualRun": (
        "Virtueller Lauf | Corsa virtuale | Carrera virtual | Corrida virtual | Course à pied virtuelle | "
        "Virtueel hardlopen | Wirtualny bieg | バーチャルラン | 虚拟跑步, 虛擬跑步 | 가상 달리기"
    ),
    "Ride": (
        "Radfahren | Bicicletta, Ciclismo, Pedalata, Giro in bici, Uscita in bici | Bicicleta, Salida en "
        "bicicleta, Vuelta en bicicleta | Volta de bicicleta | Vélo | Fietsen, Wielrennen | Jazda na rowerze, "
        "Przejażdżka, Przejażdżka rowerowa, Rower, Kolarstwo | Cykling, Cykeltur | Sykling, Sykkeltur | "
        "Pyöräily, Pyörälenkki | Jízda na kole, Cyklistika | Bisiklet, Bisiklet sürüşü | Bersepeda | "
        "Велозаезд, Велопрогулка, Велосипед, Велоспорт | ライド, サイクリング, 自転車 | 骑行, 骑车, 騎行, "
        "騎乘 | 라이드, 라이딩, 자전거"
    ),
    "VirtualRide": (
        "Virtuelle Fahrt, Virtuelle Radfahrt | Ciclismo virtuale, Pedalata virtuale | Ciclismo virtual, "
        "Vuelta ciclista virtual | Pedalada virtual | Sortie à vélo virtuelle, Vélo virtuel | Virtuele "
        "fietsrit, Virtuele rit | Wirtualna jazda | Virtuell cykeltur, Virtuell cykling | Virtuel cykeltur, "
        "Virtuel cykling | Virtuell sykkeltur | バーチャルライド | 虚拟骑行, 虛擬騎行, 虛擬騎乘 | 가상 "
        "라이드, 가상 라이딩"
    ),
    "EBikeRide": (
        "E-Bike-Fahrt | Bici elettrica | Bicicleta eléctrica | Bicicleta elétrica | Vélo électrique | "
        "E-bikerit, E-bike-rit | Rower elektryczny"
    ),
    "MountainBikeRide": "Mountainbike-Fahrt | Mountain bike | VTT, Sortie en VTT | Mountainbikerit",
    "Walk": (
        "Spaziergang, Gehen | Camminata, Passeggiata | Caminar | Caminhada | Wandelen | Spacer, Marsz | "
        "Promenad | Gåtur, Spasertur | Kävely | Chůze, Procházka | Yürüyüş | Jalan kaki | Ходьба, Прогулка | "
        "ウォーク, ウォーキング, 散歩 | 步行, 散步, 健走 | 걷기, 산책"
    ),
    "Hike": (
        "Wanderung, Wandern | Escursione, Escursionismo | Senderismo, Excursionismo | Wędrówka, Wycieczka "
        "piesza, Turystyka piesza | Vandring, Vandretur | Fottur | Vaellus, Patikointi | Turistika, Pěší "
        "turistika | Doğa yürüyüşü | Pendakian | Поход, Хайкинг | ハイク, ハイキング | 徒步, 远足, 遠足, 健行 "
        "| 하이킹, 등산"
    ),
    "Swim": (
        "Schwimmen | Nuoto | Natación | Pływanie | Simning | Svømning | Svømming | Uinti | Plavání | Yüzme | "
        "Renang, Berenang | Плавание | スイム, 水泳 | 游泳 | 수영"
    ),
    "Workout": (
        "Allenamento | Trening | Träning, Träningspass | Træning | Harjoitus | Trénink | Antrenman | Latihan "
        "| Тренировка | ワークアウト, トレーニング | 锻炼, 鍛鍊, 训练, 訓練 | 운동, 워크아웃"
    ),
    "WeightTraining": (
        "Krafttraining, Gewichtstraining | Allenamento con i pesi, Sollevamento pesi | Treino com pesos, "
        "Musculação | Musculation | Krachttraining | Trening siłowy, Trening z obciążeniem, Podnoszenie "
        "ciężarów | Styrketräning | Styrketræning, Vægttræning | Styrketrening | Voimaharjoittelu | Ağırlık "
        "antrenmanı | Latihan beban, Angkat beban | Силовая тренировка | ウェイトトレーニング, 筋トレ | "
        "力量训练, 力量訓練, 重量訓練 | 웨이트 트레이닝, 근력 운동"
    ),
    "Yoga": "Ioga | Joga | Jooga | Jóga | Йога | ヨガ | 瑜伽, 瑜珈 | 요가",
    "AlpineSki": (
        "Sci alpino | Esquí alpino | Esqui alpino | Narciarstwo alpejskie, Narciarstwo zjazdowe | Горные лыжи "
        "| アルペンスキー"
    ),
    "NordicSki": (
        "Langlauf, Skilanglauf | Sci di fondo, Sci nordico | Esquí de fondo, Esquí nórdico | Esqui nórdico | "
        "Ski de fond, Ski nordique | Langlaufen | Narciarstwo biegowe | Längdskidåkning | Langrenn | Беговые "
        "лыжи | ノルディックスキー"
    ),
    "Snowshoe": "Schneeschuhwandern | Ciaspole, Ciaspolata | Raquetas de nieve",
    "IceSkate": (
        "Eislaufen | Pattinaggio su ghiaccio | Patinaje sobre hielo | Patinage sur glace | Schaatsen | Skridskoåkning"
    ),
    "InlineSkate": "Inlineskaten | Pattinaggio in linea | Patinaje en línea | Skeeleren",
    "Rowing": "Rudern | Canottaggio | Remo | Aviron | Roeien | Wioślarstwo | Rodd | Roning | Roing | ローイング",
    "Kayaking": "Kajak, Kajakfahren | Kayak | Kajakarstwo",
    "Canoeing": "Kanufahren | Canoagem | Canoë",
    "Sail": "Segeln | Vela | Voile | Zeilen",
    "Surfing": "Surfen",
    "Windsurf": "Windsurfen",
    "RockClimbing": (
        "Klettern | Arrampicata | Escalada, Escalada en roca, Escalada em rocha | Wspinaczka | Klättring | "
        "Klatring | ロッククライミング | 攀岩"
    ),
    "Elliptical": "Ellittica | Elíptica | Elliptique",
    "Soccer": (
        "Fußball | Calcio | Fútbol | Voetbal | Piłka nożna | Fotboll | Fodbold | Fotball | Футбол | サッカー "
        "| 足球 | 축구"
    ),
    "Golf": "ゴルフ | 高尔夫, 高爾夫 | 골프",
    "Snowboard": "スノーボード",
    "TableTennis": "Tischtennis",
}
OTHER_WORDS: Final = {
    word.strip(): sport for sport, words in _WORDS.items() for word in words.replace("|", ",").split(",")
}
