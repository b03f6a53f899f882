"""MMEB-V2's 18 video sets as they lie on the Hub: repositories, columns, frame folders, instructions, label sets.

Rows are read from each set's own repository; frames come from TIGER-Lab/MMEB-V2, unpacked. Instructions are the
benchmark's own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from nyx_hf.data_builders.schema import Row

FRAMES_REPOSITORY = "TIGER-Lab/MMEB-V2"
Kind = Literal["classification", "question", "retrieval", "moment", "composed moment"]


@dataclass(frozen=True)
class VideoSet:
    """One set as it lies upstream.

    `frames` and `file` are patterns: `{column}` stands for a row's cell, `{column.stem}` for the name in a path.

    Attributes:
        kind: How a row becomes a query with its candidates.
        repository: The rows' repository.
        columns: Columns that are read.
        places: Names of its folder of frames below `video-tasks/frames`, of video files below `video-tasks/videos`.
        frames: A row's folder of frames in there.
        instruction: The task text before a query.
        file: A row's video file, for videos without frames; None where upstream reads frames alone.
        text: The column of the label, caption or query.
        configs: Configs whose rows are read in order, each with its folder of video files; rows get both as `subset`
            and `part`.
        split: The split that is evaluated.
        most: The number of first rows that are evaluated; None for all.
        labels: The whole label set, where queries are ranked against all of it.
    """

    kind: Kind
    repository: str
    columns: str
    places: str
    frames: str
    instruction: str
    file: str | None = None
    text: str = ""
    configs: Mapping[str | None, str] = field(default_factory=lambda: {None: ""})
    split: str = "test"
    most: int | None = None
    labels: str = ""

    def frames_of(self, row: Row) -> str:
        """Gives a row's folder of frames."""
        return _filled(self.frames, row)

    def file_of(self, row: Row) -> str | None:
        """Gives a row's video file, or None."""
        return None if self.file is None else _filled(self.file, row)


def _filled(pattern: str, row: Row) -> str:
    return pattern.format_map({name: PurePosixPath(str(cell)) for name, cell in row.items()})


_BREAKFAST = """
    cereal coffee friedegg juice milk pancake salad sandwich scrambledegg tea
"""
_HMDB51 = """
    brush_hair cartwheel catch chew clap climb climb_stairs dive draw_sword dribble drink eat fall_floor fencing
    flic_flac golf handstand hit hug jump kick kick_ball kiss laugh pick pour pullup punch push pushup ride_bike
    ride_horse run shake_hands shoot_ball shoot_bow shoot_gun sit situp smile smoke somersault stand swing_baseball
    sword sword_exercise talk throw turn walk wave
"""
_UCF101 = """
    ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch Basketball BasketballDunk
    BenchPress Biking Billiards BlowDryHair BlowingCandles BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag
    BreastStroke BrushingTeeth CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming
    Fencing FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut Hammering HammerThrow
    HandstandPushups HandstandWalking HeadMassage HighJump HorseRace HorseRiding HulaHoop IceDancing JavelinThrow
    JugglingBalls JumpingJack JumpRope Kayaking Knitting LongJump Lunges MilitaryParade Mixing MoppingFloor Nunchucks
    ParallelBars PizzaTossing PlayingCello PlayingDaf PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar
    PlayingTabla PlayingViolin PoleVault PommelHorse PullUps Punch PushUps Rafting RockClimbingIndoor RopeClimbing
    Rowing SalsaSpin ShavingBeard Shotput SkateBoarding Skiing Skijet SkyDiving SoccerJuggling SoccerPenalty StillRings
    SumoWrestling Surfing Swing TableTennisShot TaiChi TennisSwing ThrowDiscus TrampolineJumping Typing UnevenBars
    VolleyballSpiking WalkingWithDog WallPushups WritingOnBoard YoYo
"""
_K700 = """
    abseiling acting_in_play adjusting_glasses air_drumming alligator_wrestling answering_questions applauding
    applying_cream archaeological_excavation archery arguing arm_wrestling arranging_flowers arresting
    assembling_bicycle assembling_computer attending_conference auctioning baby_waking_up backflip_(human)
    baking_cookies bandaging barbequing bartending base_jumping bathing_dog battle_rope_training beatboxing bee_keeping
    being_excited being_in_zero_gravity belly_dancing bench_pressing bending_back bending_metal biking_through_snow
    blasting_sand blending_fruit blowdrying_hair blowing_bubble_gum blowing_glass blowing_leaves blowing_nose
    blowing_out_candles bobsledding bodysurfing bookbinding bottling bouncing_ball_(not_juggling)
    bouncing_on_bouncy_castle bouncing_on_trampoline bowling braiding_hair breading_or_breadcrumbing breakdancing
    breaking_boards breaking_glass breathing_fire brush_painting brushing_floor brushing_hair brushing_teeth
    building_cabinet building_lego building_sandcastle building_shed bulldozing bungee_jumping burping busking
    calculating calligraphy canoeing_or_kayaking capoeira capsizing card_stacking card_throwing carrying_baby
    carrying_weight cartwheeling carving_ice carving_marble carving_pumpkin carving_wood_with_a_knife
    casting_fishing_line catching_fish catching_or_throwing_baseball catching_or_throwing_frisbee
    catching_or_throwing_softball celebrating changing_gear_in_car changing_oil changing_wheel_(not_on_bike) chasing
    checking_tires checking_watch cheerleading chewing_gum chiseling_stone chiseling_wood chopping_meat chopping_wood
    clam_digging clapping clay_pottery_making clean_and_jerk cleaning_gutters cleaning_pool cleaning_shoes
    cleaning_toilet cleaning_windows climbing_a_rope climbing_ladder climbing_tree closing_door coloring_in
    combing_hair contact_juggling contorting cooking_chicken cooking_egg cooking_on_campfire
    cooking_sausages_(not_on_barbeque) cooking_scallops cosplaying coughing counting_money country_line_dancing
    cracking_back cracking_knuckles cracking_neck crawling_baby crocheting crossing_eyes crossing_river crying cumbia
    curling_(sport) curling_eyelashes curling_hair cutting_apple cutting_cake cutting_nails cutting_orange
    cutting_pineapple cutting_watermelon dancing_ballet dancing_charleston dancing_gangnam_style dancing_macarena
    deadlifting dealing_cards decorating_the_christmas_tree decoupage delivering_mail digging dining directing_traffic
    disc_golfing diving_cliff docking_boat dodgeball doing_aerobics doing_jigsaw_puzzle doing_laundry doing_nails
    doing_sudoku drawing dribbling_basketball drinking_shots driving_car driving_tractor drooling drop_kicking
    drumming_fingers dumpster_diving dunking_basketball dyeing_eyebrows dyeing_hair eating_burger eating_cake
    eating_carrots eating_chips eating_doughnuts eating_hotdog eating_ice_cream eating_nachos eating_spaghetti
    eating_watermelon egg_hunting embroidering entering_church exercising_arm exercising_with_an_exercise_ball
    extinguishing_fire faceplanting falling_off_bike falling_off_chair feeding_birds feeding_fish feeding_goats
    fencing_(sport) fidgeting filling_cake filling_eyebrows finger_snapping fixing_bicycle fixing_hair flint_knapping
    flipping_bottle flipping_pancake fly_tying flying_kite folding_clothes folding_napkins folding_paper front_raises
    frying_vegetables gargling geocaching getting_a_haircut getting_a_piercing getting_a_tattoo
    giving_or_receiving_award gold_panning golf_chipping golf_driving golf_putting gospel_singing_in_church
    grinding_meat grooming_cat grooming_dog grooming_horse gymnastics_tumbling hammer_throw hand_washing_clothes
    head_stand headbanging headbutting helmet_diving herding_cattle high_fiving high_jump high_kick
    historical_reenactment hitting_baseball hockey_stop holding_snake home_roasting_coffee hopscotch hoverboarding
    huddling hugging_(not_baby) hugging_baby hula_hooping hurdling hurling_(sport) ice_climbing ice_fishing ice_skating
    ice_swimming inflating_balloons installing_carpet ironing ironing_hair javelin_throw jaywalking jetskiing jogging
    juggling_balls juggling_fire juggling_soccer_ball jumping_bicycle jumping_into_pool jumping_jacks jumping_sofa
    jumpstyle_dancing karaoke kicking_field_goal kicking_soccer_ball kissing kitesurfing knitting krumping land_sailing
    laughing lawn_mower_racing laying_bricks laying_concrete laying_decking laying_stone laying_tiles leatherworking
    letting_go_of_balloon licking lifting_hat lighting_candle lighting_fire listening_with_headphones lock_picking
    long_jump longboarding looking_at_phone looking_in_mirror luge lunge making_a_cake making_a_sandwich
    making_balloon_shapes making_bubbles making_cheese making_horseshoes making_jewelry making_latte_art
    making_paper_aeroplanes making_pizza making_slime making_snowman making_sushi making_tea making_the_bed marching
    marriage_proposal massaging_back massaging_feet massaging_legs massaging_neck massaging_person's_head
    metal_detecting milking_cow milking_goat mixing_colours moon_walking mopping_floor mosh_pit_dancing motorcycling
    mountain_climber_(exercise) moving_baby moving_child moving_furniture mowing_lawn mushroom_foraging needle_felting
    news_anchoring opening_bottle_(not_wine) opening_coconuts opening_door opening_present opening_refrigerator
    opening_wine_bottle packing paragliding parasailing parkour passing_American_football_(in_game)
    passing_American_football_(not_in_game) passing_soccer_ball peeling_apples peeling_banana peeling_potatoes
    person_collecting_garbage petting_animal_(not_cat) petting_cat petting_horse photobombing photocopying
    picking_apples picking_blueberries pillow_fight pinching pirouetting planing_wood planting_trees plastering
    playing_accordion playing_american_football playing_badminton playing_bagpipes playing_basketball
    playing_bass_guitar playing_beer_pong playing_billiards playing_blackjack playing_cards playing_cello
    playing_checkers playing_chess playing_clarinet playing_controller playing_cricket playing_cymbals playing_darts
    playing_didgeridoo playing_dominoes playing_drums playing_field_hockey playing_flute playing_gong playing_guitar
    playing_hand_clapping_games playing_harmonica playing_harp playing_ice_hockey playing_keyboard playing_kickball
    playing_laser_tag playing_lute playing_mahjong playing_maracas playing_marbles playing_monopoly playing_netball
    playing_nose_flute playing_oboe playing_ocarina playing_organ playing_paintball playing_pan_pipes playing_piano
    playing_piccolo playing_pinball playing_ping_pong playing_poker playing_polo playing_recorder playing_road_hockey
    playing_rounders playing_rubiks_cube playing_saxophone playing_scrabble playing_shuffleboard playing_slot_machine
    playing_squash_or_racquetball playing_tennis playing_trombone playing_trumpet playing_ukulele playing_violin
    playing_volleyball playing_with_trains playing_xylophone poaching_eggs poking_bellybutton pole_vault
    polishing_furniture polishing_metal popping_balloons pouring_beer pouring_milk pouring_wine preparing_salad
    presenting_weather_forecast pretending_to_be_a_statue pull_ups pulling_espresso_shot pulling_rope_(game)
    pumping_fist pumping_gas punching_bag punching_person_(boxing) push_up pushing_car pushing_cart pushing_wheelbarrow
    pushing_wheelchair putting_in_contact_lenses putting_on_eyeliner putting_on_foundation putting_on_lipstick
    putting_on_mascara putting_on_sari putting_on_shoes putting_wallpaper_on_wall raising_eyebrows reading_book
    reading_newspaper recording_music repairing_puncture riding_a_bike riding_camel riding_elephant
    riding_mechanical_bull riding_mule riding_or_walking_with_horse riding_scooter riding_snow_blower riding_unicycle
    ripping_paper roasting_marshmallows roasting_pig robot_dancing rock_climbing rock_scissors_paper roller_skating
    rolling_eyes rolling_pastry rope_pushdown running_on_treadmill sailing salsa_dancing saluting sanding_floor
    sanding_wood sausage_making sawing_wood scrambling_eggs scrapbooking scrubbing_face scuba_diving seasoning_food
    separating_eggs setting_table sewing shaking_hands shaking_head shaping_bread_dough sharpening_knives
    sharpening_pencil shaving_head shaving_legs shearing_sheep shining_flashlight shining_shoes shoot_dance
    shooting_basketball shooting_goal_(soccer) shooting_off_fireworks shopping shot_put shouting shoveling_snow
    shredding_paper shucking_oysters shuffling_cards shuffling_feet side_kick sieving sign_language_interpreting
    silent_disco singing sipping_cup situp skateboarding ski_ballet ski_jumping skiing_crosscountry skiing_mono
    skiing_slalom skipping_rope skipping_stone skydiving slacklining slapping sled_dog_racing sleeping slicing_onion
    smashing smelling_feet smoking smoking_hookah smoking_pipe snatch_weight_lifting sneezing snorkeling snowboarding
    snowkiting snowmobiling somersaulting spelunking spinning_plates spinning_poi splashing_water spray_painting
    spraying springboard_diving square_dancing squat squeezing_orange stacking_cups stacking_dice standing_on_hands
    staring steer_roping steering_car sticking_tongue_out stomping_grapes stretching_arm stretching_leg sucking_lolly
    surfing_crowd surfing_water surveying sweeping_floor swimming_backstroke swimming_breast_stroke
    swimming_butterfly_stroke swimming_front_crawl swimming_with_dolphins swimming_with_sharks swing_dancing
    swinging_baseball_bat swinging_on_something sword_fighting sword_swallowing tackling tagging_graffiti tai_chi
    taking_photo talking_on_cell_phone tango_dancing tap_dancing tapping_guitar tapping_pen tasting_beer tasting_food
    tasting_wine testifying texting threading_needle throwing_axe throwing_ball_(not_baseball_or_American_football)
    throwing_discus throwing_knife throwing_snowballs throwing_tantrum throwing_water_balloon tickling tie_dying
    tightrope_walking tiptoeing tobogganing tossing_coin tossing_salad training_dog trapezing treating_wood
    trimming_or_shaving_beard trimming_shrubs trimming_trees triple_jump twiddling_fingers tying_bow_tie
    tying_knot_(not_on_a_tie) tying_necktie tying_shoe_laces unboxing uncorking_champagne unloading_truck
    using_a_microscope using_a_paint_roller using_a_power_drill using_a_sledge_hammer using_a_wrench using_atm
    using_bagging_machine using_circular_saw using_inhaler using_megaphone using_puppets
    using_remote_controller_(not_gaming) using_segway vacuuming_car vacuuming_floor visiting_the_zoo wading_through_mud
    wading_through_water waiting_in_line waking_up walking_on_stilts walking_the_dog walking_through_snow
    walking_with_crutches washing_dishes washing_feet washing_hair washing_hands watching_tv water_skiing water_sliding
    watering_plants waving_hand waxing_armpits waxing_back waxing_chest waxing_eyebrows waxing_legs weaving_basket
    weaving_fabric welding whistling windsurfing winking wood_burning_(art) wrapping_present wrestling writing
    yarn_spinning yawning yoga zumba
"""

_ANSWER = (
    "Given a video and a question, select the most accurate answer from the provided candidates. "
    "Return only the exact text of your chosen answer. Question:"
)
_MOMENT = "Find the clip that corresponds to the described scene in the given video:"
COMPOSED = {
    ".mp4": "Find the clip that corresponds to the given sentence and video segment:",
    ".jpg": "Select the video clip that aligns with the given text and image:",
}
"""MomentSeeker's instructions by what stands beside the query's text; its table row has that of text alone."""
_MVBENCH: dict[str | None, str] = {
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "action_sequence": "star/Charades_v1_480",
    "action_prediction": "star/Charades_v1_480",
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "unexpected_action": "FunQA_test/test",
    "object_existence": "clevrer/video_validation",
    "object_interaction": "star/Charades_v1_480",
    "object_shuffle": "perception/videos",
    "moving_direction": "clevrer/video_validation",
    "action_localization": "sta/sta_video",
    "scene_transition": "scene_qa/video",
    "action_count": "perception/videos",
    "moving_count": "clevrer/video_validation",
    "moving_attribute": "clevrer/video_validation",
    "state_change": "perception/videos",
    "fine_grained_pose": "nturgbd",
    "character_order": "perception/videos",
    "egocentric_navigation": "vlnqa",
    "counterfactual_inference": "clevrer/video_validation",
}

SETS = {
    "K700": VideoSet(
        "classification", "VLM2Vec/Kinetics-700", "video_id pos_text", "video_cls/K700", "{video_id}",
        "Recognize the category of the video content.",
        file="{video_id}.mp4", text="pos_text", labels=_K700,
    ),
    "SmthSmthV2": VideoSet(
        "classification", "VLM2Vec/SmthSmthV2", "video_id pos_text neg_text", "video_cls/SSv2", "{video_id}",
        "What actions or object interactions are being performed by the person in the video?",
        file="{video_id}.mp4", text="pos_text", most=1000,
    ),
    "HMDB51": VideoSet(
        "classification", "VLM2Vec/HMDB51", "video_id pos_text", "video_cls/HMDB51", "{video_id}",
        "What actions or objects interactions are the person in the video doing?",
        file="{video_id}.mp4", text="pos_text", labels=_HMDB51,
    ),
    "UCF101": VideoSet(
        "classification", "VLM2Vec/UCF101", "video_id pos_text", "video_cls/UCF101", "{video_id}",
        "What activities or sports are being performed by the person in the video?",
        file="{video_id}.mp4", text="pos_text", labels=_UCF101,
    ),
    "Breakfast": VideoSet(
        "classification", "VLM2Vec/Breakfast", "video_id pos_text", "video_cls/Breakfast", "{video_id}",
        "Recognize the breakfast type that the person is cooking in the video.",
        file="{video_id}.mp4", text="pos_text", labels=_BREAKFAST,
    ),
    "MVBench": VideoSet(
        "question", "VLM2Vec/MVBench", "video question candidates answer", "video_qa/MVBench", "{subset}/{video}",
        _ANSWER, file="{part}/{video}", split="train", configs=_MVBENCH,
    ),
    "Video-MME": VideoSet(
        "question", "VLM2Vec/Video-MME", "videoID question options answer", "video_qa/Video-MME", "{videoID}",
        _ANSWER, file="{videoID}.mp4",
    ),
    "NExTQA": VideoSet(
        "question", "VLM2Vec/NExTQA", "video question answer a0 a1 a2 a3 a4", "video_qa/NExTQA", "{video}",
        _ANSWER, file="{video}.mp4", configs={"MC": ""},
    ),
    "EgoSchema": VideoSet(
        "question", "VLM2Vec/EgoSchema", "video_idx question option answer", "video_qa/EgoSchema", "{video_idx}",
        _ANSWER, file="{video_idx}.mp4", configs={"Subset": ""},
    ),
    "ActivityNetQA": VideoSet(
        "question", "VLM2Vec/ActivityNetQA", "video_name question answer", "video_qa/ActivityNetQA", "v_{video_name}",
        _ANSWER, file="v_{video_name}.mp4",
    ),
    "DiDeMo": VideoSet(
        "retrieval", "VLM2Vec/DiDeMo", "video caption", "video_ret/DiDeMo", "{video.stem}",
        "Find a video that includes the following described scenes:", file="{video.name}", text="caption",
    ),
    "MSR-VTT": VideoSet(
        "retrieval", "VLM2Vec/MSR-VTT", "video_id video caption", "video_ret/MSR-VTT", "{video_id}",
        "Find a video that contains the following visual content:",
        file="{video}", text="caption", configs={"test_1k": ""},
    ),
    "MSVD": VideoSet(
        "retrieval", "VLM2Vec/MSVD", "video_id video caption", "video_ret/MSVD", "{video_id}",
        "Find the video snippet that corresponds to the given summary:", file="{video}", text="caption",
    ),
    "VATEX": VideoSet(
        "retrieval", "VLM2Vec/VATEX", "videoID enCap", "video_ret/VATEX", "{videoID}",
        "Select a video that fits the description provided:", file="{videoID}.mp4", text="enCap",
    ),
    "YouCook2": VideoSet(
        "retrieval", "lmms-lab/YouCook2", "id video_path sentence", "video_ret/YouCook2", "{id}",
        "Find a video that demonstrates the following action while making a recipe:",
        file="{video_path.name}", text="sentence", split="val",
    ),
    "QVHighlight": VideoSet(
        "moment", "VLM2Vec/QVHighlight", "query video_path", "video_mret/QVHighlight", "{video_path.stem}",
        _MOMENT, text="query",
    ),
    "Charades-STA": VideoSet(
        "moment", "VLM2Vec/Charades-STA", "query video_path", "video_mret/Charades_STA video_mret/Charades-STA",
        "{video_path.stem}", _MOMENT, text="query",
    ),
    "MomentSeeker": VideoSet(
        "composed moment", "VLM2Vec/MomentSeeker", "query positive_frames negative_frames input_frames",
        "video_mret/MomentSeeker", "video_frames", "Find the clip that corresponds to the given text:", text="query",
    ),
}  # fmt: skip
"""The 18 sets by their names in the benchmark."""


def video_set(name: str) -> VideoSet:
    """Finds a set.

    Args:
        name: One of `SETS`.

    Returns:
        The set.

    Raises:
        ValueError: If there is no such set.
    """
    if name not in SETS:
        raise ValueError(f"found subset={name}, expected one of {', '.join(SETS)}")
    return SETS[name]
